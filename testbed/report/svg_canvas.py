"""Lines and text of a hand-made SVG, and which places text has taken already."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

_EM_WIDTH = 0.6  # of a letter, on average


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def is_crossed_by(self, line: "Line") -> bool:
        """By Liang and Barsky: what of the line is left after each side has cut off what lies beyond it."""
        begin, end = 0.0, 1.0
        dx, dy = line.x1 - line.x0, line.y1 - line.y0
        for p, q in (
            (-dx, line.x0 - self.left),
            (dx, self.right - line.x0),
            (-dy, line.y0 - self.top),
            (dy, self.bottom - line.y0),
        ):
            if p == 0:
                if q < 0:
                    return False
            elif p < 0:
                begin = max(begin, q / p)
            else:
                end = min(end, q / p)
        return begin < end


class Line(NamedTuple):
    x0: float
    y0: float
    x1: float
    y1: float

    def at(self, fraction: float) -> tuple[float, float]:
        return self.x0 + (self.x1 - self.x0) * fraction, self.y0 + (self.y1 - self.y0) * fraction

    @property
    def slope_degrees(self) -> float:
        """Of text along it, read from left to right."""
        if self.x1 == self.x0:
            return 0.0
        return math.degrees(math.atan((self.y1 - self.y0) / (self.x1 - self.x0)))


@dataclass(frozen=True)
class Label:
    """Text with the middle of its height at `y`, turned around (x, y)."""

    x: float
    y: float
    text: str
    size: float
    anchor: str = "start"
    style: str = ""
    degrees: float = 0.0

    @property
    def box(self) -> Box:
        width = len(self.text) * self.size * _EM_WIDTH
        left = -{"start": 0, "middle": width / 2, "end": width}[self.anchor]
        turn = math.radians(self.degrees)
        corners = [(x, y) for x in (left, left + width) for y in (-self.size / 2, self.size / 2)]
        xs = [self.x + x * math.cos(turn) - y * math.sin(turn) for x, y in corners]
        ys = [self.y + x * math.sin(turn) + y * math.cos(turn) for x, y in corners]
        return Box(min(xs), min(ys), max(xs), max(ys))


@dataclass
class SvgCanvas:
    """Elements so far. `name` goes in front of ids; `font` is the usual size of text in px."""

    name: str
    font: float
    parts: list[str] = field(default_factory=list)
    taken: list[Box] = field(default_factory=list)
    arrows: list[Line] = field(default_factory=list)

    def line(self, line: Line, style: str) -> None:
        self._line(line, style, "")

    def arrow(self, line: Line, style: str, head: bool = True) -> None:
        self.arrows.append(line)
        self._line(line, style, f' marker-end="url(#{self.name}-head)"' if head else "")

    def rect(self, x: float, y: float, width: float, height: float, style: str) -> None:
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" style="{style}"/>')

    def dot(self, x: float, y: float, radius: float, style: str) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" style="{style}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", style: str = "") -> None:
        self.label(Label(x, y, text, self.font, anchor, style))

    def label(self, label: Label) -> None:
        self.taken.append(label.box)
        turn = f' transform="rotate({label.degrees:.1f} {label.x:.1f} {label.y:.1f})"' if label.degrees else ""
        self.parts.append(
            f'<text x="{label.x:.1f}" y="{label.y + label.size * 0.36:.1f}" text-anchor="{label.anchor}"{turn} '
            f'style="font-size: {label.size:g}px; fill: var(--ink); paint-order: stroke; stroke: var(--paper); '
            f'stroke-width: 3px; {label.style}">{escape(label.text)}</text>'
        )

    def best(self, labels: Iterable[Label]) -> Label:
        """The first of those that hide the least."""

        def hidden(label: Label) -> int:
            box = label.box
            return sum(map(box.overlaps, self.taken)) + sum(map(box.is_crossed_by, self.arrows))

        return min(labels, key=hidden)

    def svg(self, width: float, height: float) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" style="font-family: var(--sans)">'
            f'<defs><marker id="{self.name}-head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0.8 L8 4 L0 7.2 z" style="fill: var(--ink)"/></marker></defs>'
            f"{''.join(self.parts)}</svg>"
        )

    def _line(self, line: Line, style: str, more: str) -> None:
        x0, y0, x1, y1 = line
        self.parts.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" style="{style}"{more}/>')
