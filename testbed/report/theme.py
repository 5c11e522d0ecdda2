"""Colours, dashes and markers, one place for all figures and the page.

A drawing is made with the light colours and then refers to them by CSS variable, so that one SVG serves light and dark.
The schemes' colours are of Okabe and Ito's palette for all kinds of colour vision; none is told by colour alone.
"""

from typing import NamedTuple


class Colour(NamedTuple):
    """`name` is a CSS variable without its dashes. No two light ones are equal: a drawing is translated by them."""

    name: str
    light: str
    dark: str


class Style(NamedTuple):
    """How a scheme is drawn; `size` is of its marker, in px: larger ones are hollow, so that none hides another."""

    label: str
    colour: Colour
    dash: tuple[float, tuple[float, ...] | None]
    marker: str
    size: float
    hollow: bool


PAPER = Colour("paper", "#fffffe", "#15171a")
INK = Colour("ink", "#1b1d21", "#e6e4df")
MUTED = Colour("muted", "#5b6067", "#a2a7ae")
RULE = Colour("rule", "#d9d8d3", "#34383e")
SHADE = Colour("shade", "#f1f0ec", "#202429")
# What a time consists of, and what became of a packet.
RADIO = Colour("radio", "#b9bcc2", "#565c65")
TRAVEL = Colour("travel", "#56b4e9", "#3f8fbd")
PROCESSING = Colour("processing", "#e69f00", "#e0a22a")
OTHER = Colour("other", "#f0e442", "#cfc447")
BAD = Colour("bad", "#b3400a", "#ff9a66")
GOOD = Colour("good", "#00694d", "#4fd1a5")

_BLACK = Colour("scheme-1", "#4c5057", "#bfc4cb")
_BLUE = Colour("scheme-2", "#0072b2", "#5ab8ee")
_VERMILLION = Colour("scheme-3", "#d55e00", "#ff8a3d")
_GREEN = Colour("scheme-4", "#009e73", "#2cc79b")
_PURPLE = Colour("scheme-5", "#b8578f", "#e29cc4")

COLOURS = (
    *(PAPER, INK, MUTED, RULE, SHADE, RADIO, TRAVEL, PROCESSING, OTHER, BAD, GOOD),
    *(_BLACK, _BLUE, _VERMILLION, _GREEN, _PURPLE),
)

_SCHEMES = {
    "pmipv6": Style("PMIPv6", _BLACK, (0, (1.2, 1.6)), "X", 7.0, False),
    "context-reflector": Style("Context Reflector", _BLUE, (0, None), "o", 4.5, False),
    "fpmipv6": Style("FPMIPv6", _VERMILLION, (0, (6, 2)), "^", 9.0, True),
    "fast-handover": Style("Fast Handover", _GREEN, (0, (6, 2, 1.2, 2)), "s", 11.5, True),
}


def style_of(scheme: str) -> Style:
    """Of one that is not in the paper: a style of its own, under its own name."""
    return _SCHEMES.get(scheme) or Style(scheme, _PURPLE, (0, (3, 1.5)), "D", 7.0, True)


def name_of(scheme: str, mode: str = "reactive") -> str:
    return style_of(scheme).label + ("" if mode == "reactive" else f", {mode}")


def variables(dark: bool) -> str:
    """The declarations of a CSS rule."""
    return " ".join(f"--{colour.name}: {colour.dark if dark else colour.light};" for colour in COLOURS)


def style_sheet() -> str:
    """The colours for both schemes of a page, or of an SVG that stands alone."""
    return (
        f":root {{ color-scheme: light dark; {variables(dark=False)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {variables(dark=True)} }} }}\n"
        f"@media print {{ :root {{ {variables(dark=False)} }} }}\n"
    )


def with_variables(drawing: str) -> str:
    """The drawing's light colours replaced by their variables."""
    for colour in COLOURS:
        drawing = drawing.replace(colour.light, f"var(--{colour.name})")
    return drawing
