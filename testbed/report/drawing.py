"""From a matplotlib figure to SVG that lies in a page: text stays text, colours are the page's, no id is used twice.

One unit of a drawing is one CSS pixel. Every figure is drawn for two widths and CSS shows the one that fits, because
text that shrinks with its drawing cannot be read on a phone.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from testbed.report import theme

WIDE, NARROW = 1000, 358  # px
_PX_PER_INCH = 72
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_RC: dict[Any, Any] = {
    "text.parse_math": False,  # a dollar sign is one
    "svg.fonttype": "none",
    "svg.hashsalt": "context-reflector",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it: the same layout everywhere
    "font.size": 11.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": theme.MUTED.light,
    "axes.labelcolor": theme.INK.light,
    "axes.titlecolor": theme.INK.light,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": theme.RULE.light,
    "grid.linewidth": 0.8,
    "text.color": theme.INK.light,
    "xtick.color": theme.MUTED.light,
    "ytick.color": theme.MUTED.light,
    "xtick.labelcolor": theme.INK.light,
    "ytick.labelcolor": theme.INK.light,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "hatch.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": 11.0,
    "lines.linewidth": 1.8,
    "axes.unicode_minus": True,
}


@contextmanager
def canvas(width_px: float, height_px: float) -> Iterator[Figure]:
    """An empty figure of that size; draw in it inside the block, `svg_of` included."""
    with mpl.rc_context(_RC):
        layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.03)
        figure = Figure(figsize=(width_px / _PX_PER_INCH, height_px / _PX_PER_INCH), layout=layout)
        figure.patch.set_alpha(0)
        yield figure


def svg_of(figure: Figure, name: str) -> str:
    """The drawing; `name` is unique in the page and goes in front of every id."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return embeddable(file.getvalue().decode(), name)


def embeddable(drawing: str, name: str) -> str:
    """An SVG document as an element of a page."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(drawing)
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    root.attrib.update(width=f"{width:g}", height=f"{height:g}")
    root.attrib.pop("version", None)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == f"{{{_XLINK}}}href" and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
        # A variable is sure to count in a style, less so in an attribute.
        paints = [f"{name}: {element.attrib.pop(name)}" for name in ("fill", "stroke") if name in element.attrib]
        if style := "; ".join([element.attrib.pop("style", ""), *paints]).strip("; "):
            element.set("style", _in_page(style))
    return ElementTree.tostring(root, encoding="unicode")


def _in_page(style: str) -> str:
    style = re.sub(r"(font: (?:[a-z]+ )*[\d.]+px) [^;]*", r"\1 var(--sans)", style)
    return theme.with_variables(style)


def standalone(drawing: str, alt: str) -> str:
    """The same as a file of its own, light or dark as its reader is."""
    root = ElementTree.fromstring(drawing)
    style = ElementTree.Element(f"{{{_SVG}}}style")
    style.text = f':root {{ --sans: "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }}\n{theme.style_sheet()}'
    title = ElementTree.Element(f"{{{_SVG}}}title")
    title.text = alt
    background = ElementTree.Element(
        f"{{{_SVG}}}rect", {"width": "100%", "height": "100%", "style": "fill: var(--paper)"}
    )
    for element in (background, style, title):
        root.insert(0, element)
    root.set("role", "img")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def grid_of(figure: Figure, rows: int, columns: int, **sharing: Any) -> list[list[Axes]]:
    """Axes in rows and columns."""
    return [list(row) for row in figure.subplots(rows, columns, squeeze=False, **sharing)]


def note(axes: Axes, text: str, at: tuple[float, float], shift: tuple[float, float] = (0, 0), **style: Any) -> None:
    """Text at a place of the data, `shift` px to the right and up from there."""
    axes.annotate(text, at, xytext=shift, textcoords="offset points", **style)


def grid_along(axes: Axes, axis: Literal["x", "y"]) -> None:
    """A grid along one axis only."""
    axes.grid(visible=False)
    axes.grid(visible=True, axis=axis)
