"""What a figure of the report is: a drawing for each width, the numbers behind it, and words for who cannot see it."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from testbed.report.drawing import NARROW, WIDE

Value = str | int | float | bool | None


def key_of(*parts: str) -> str:
    """A name for files and anchors, whatever the parts are."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


@dataclass(frozen=True)
class Table:
    """Numbers as they are in the JSON, unrounded; None is what was not measured."""

    header: Sequence[str]
    rows: Sequence[Sequence[Value]]

    def as_csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(["" if value is None else value for value in row] for row in self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class Plot:
    """`key` is the name of its files and of its anchor; `draw` takes a width in px and a name for the drawing's ids.

    `alt` says in a sentence or two what is to be seen, with numbers; `caption` how to read it.
    """

    key: str
    title: str
    caption: str
    alt: str
    table: Table
    draw: Callable[[int, str], str] = field(repr=False)

    @cached_property
    def wide(self) -> str:
        return self.draw(WIDE, f"{self.key}-w")

    @cached_property
    def narrow(self) -> str:
        return self.draw(NARROW, f"{self.key}-n")
