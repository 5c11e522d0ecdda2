"""Table 1 as the page shows it: the paper's words, what was measured, and whether the one bears the other out."""

from collections.abc import Iterator
from typing import NamedTuple

from testbed.compare.document import Cell, Document, Row
from testbed.report import theme
from testbed.report.plot import Table


class Verdict(NamedTuple):
    """Not by colour alone: a sign and a word."""

    sign: str
    word: str
    css: str


_VERDICTS = {
    True: Verdict("✓", "supported", "good"),
    False: Verdict("✗", "not supported", "bad"),
    None: Verdict("\N{EN DASH}", "not claimed or not measured", "none"),
}


class Entry(NamedTuple):
    """One scheme's cell of one row."""

    scheme: str
    label: str
    paper: str | None
    measured: str | None
    run: str | None
    verdict: Verdict


class Unsupported(NamedTuple):
    row: str
    source: str | None
    schemes: str
    says: str


def schemes_of(document: Document) -> list[str]:
    """The columns: those measured, then any others that the paper speaks of."""
    named = [*document.sweep.schemes, *(scheme for row in document.table1 for scheme in (*row.measured, *row.paper))]
    return list(dict.fromkeys(named))


def entries(row: Row, schemes: list[str]) -> list[Entry]:
    return [
        Entry(
            scheme,
            theme.style_of(scheme).label,
            row.paper.get(scheme),
            text_of(row.measured.get(scheme)),
            cell.run if (cell := row.measured.get(scheme)) else None,
            _VERDICTS[row.supported.get(scheme)],
        )
        for scheme in schemes
    ]


def unsupported(document: Document) -> Iterator[Unsupported]:
    """What the paper claims and the measurement says otherwise, a row at a time."""
    for row in document.table1:
        schemes = [scheme for scheme, supported in row.supported.items() if supported is False]
        if schemes:
            labels = ", ".join(theme.style_of(scheme).label for scheme in schemes)
            yield Unsupported(
                row.row, row.source, labels, row.remark or "; ".join(_plainly(row, one) for one in schemes)
            )


def _plainly(row: Row, scheme: str) -> str:
    measured = text_of(row.measured.get(scheme)) or "nothing"
    return f"the paper says “{row.paper.get(scheme, '')}”, measured: {measured}."


def counts(document: Document) -> tuple[int, int]:
    """Claims borne out, claims judged."""
    judged = [value for row in document.table1 for value in row.supported.values() if value is not None]
    return sum(judged), len(judged)


def text_of(cell: Cell | None) -> str | None:
    return cell.text if cell else None


def table(document: Document) -> Table:
    rows = [
        [
            *(row.key, row.row, row.source, scheme, row.paper.get(scheme)),
            *((cell.text, cell.value, cell.unit, cell.run) if (cell := row.measured.get(scheme)) else (None,) * 4),
            row.supported.get(scheme),
            row.remark,
        ]
        for row in document.table1
        for scheme in schemes_of(document)
    ]
    header = ["key", "row", "source", "scheme", "paper", "measured", "value", "unit", "run", "supported", "remark"]
    return Table(header, rows)
