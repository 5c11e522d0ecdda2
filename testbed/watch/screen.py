"""A screen of characters, each with a style; what a frame is painted on."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from rich.text import Text

# For a terminal that cannot show these.
_ASCII = str.maketrans("●○✗▮─│┌┐└┘├┤┼·→▶◀µ≈", "oOX#-|+++++++.>><u~")

Point = tuple[int, int]  # column, row


class Screen:
    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._characters = [[" "] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]

    def put(self, at: Point, text: str, style: str = "") -> None:
        """What does not fit is cut off."""
        x, y = at
        if 0 <= y < self.height:
            for column, character in enumerate(text, x):
                if 0 <= column < self.width:
                    self._characters[y][column] = character
                    self._styles[y][column] = style

    def box(self, at: Point, width: int, lines: Iterable[tuple[str, str]], style: str = "") -> None:
        """A frame of that width around lines of text, each with its style."""
        (x, y), inside = at, width - 2
        self.put(at, f"┌{'─' * inside}┐", style)
        for row, (text, own) in enumerate(lines, y + 1):
            self.put((x, row), "│", style)
            self.put((x + 1, row), f" {text}"[:inside].ljust(inside), own)
            self.put((x + width - 1, row), "│", style)
            y = row
        self.put((x, y + 1), f"└{'─' * inside}┘", style)

    def lines(self, ascii_only: bool = False) -> list[str]:
        """The characters alone."""
        rows = ["".join(row).rstrip() for row in self._characters]
        return [row.translate(_ASCII) for row in rows] if ascii_only else rows

    def text(self, ascii_only: bool = False) -> Text:
        """With styles, for rich."""
        text = Text(no_wrap=True, end="")
        for y, row in enumerate(self._characters):
            text.append("\n" if y else "")
            for style, cells in groupby(zip(row, self._styles[y], strict=True), key=itemgetter(1)):
                run = "".join(character for character, _ in cells)
                text.append(run.translate(_ASCII) if ascii_only else run, style)
        return text


def path(begin: Point, end: Point) -> list[Point]:
    """The cells from one to the other, both included."""
    (x0, y0), (x1, y1) = begin, end
    steps = max(abs(x1 - x0), abs(y1 - y0)) or 1
    return [(round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)) for step in range(steps + 1)]
