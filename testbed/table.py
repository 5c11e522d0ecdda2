"""Columns of text, numbers to the right."""

from collections.abc import Mapping, Sequence

_GAP = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[str]], groups: Mapping[int, str] | None = None) -> str:
    """Text to the left, what looks like a number to the right; `groups` are titles above the column they begin at."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    to_the_right = [all(_is_figure(row[column]) for row in rows) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return _GAP.join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, to_the_right, strict=True)
        ).rstrip()

    lines = [line(header), "-" * len(line(["-" * width for width in widths])), *map(line, rows)]
    if groups:
        above = ""
        for column, title in sorted(groups.items()):
            above = above.ljust(sum(widths[:column]) + column * len(_GAP)) + title
        lines.insert(0, above)
    return "\n".join(lines)


def _is_figure(cell: str) -> bool:
    return cell.removeprefix("-").replace(".", "", 1).isdigit() or cell in ("", "-")
