"""The tables of docs/operating.md that say what the code says: `python -m testbed.package.tables` writes them anew."""

import logging
import re
from pathlib import Path

from common.events import EVENTS
from common.phases import LMA_PHASES, MAG_PHASES

DOCUMENT = Path(__file__).parents[2] / "docs/operating.md"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written() -> str:
    """The document with its tables as they should be."""
    tables = {
        "events": _table(
            ("event", "priority", "a message's outcome", "what it says"),
            [
                (f"`{name}`", logging.getLevelName(event.level).lower(), event.kind.value, event.meaning)
                for name, event in EVENTS.items()
            ],
        ),
        "phases": _table(
            ("daemon", "phase", "from", "to", "what"),
            [
                (daemon, f"`{phase.name}`", phase.begin, phase.end, phase.meaning)
                for daemon, phases in (("lmad", LMA_PHASES), ("magd", MAG_PHASES))
                for phase in phases
            ],
        ),
    }
    text = DOCUMENT.read_text()
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(written())
