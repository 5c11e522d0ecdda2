"""The time without packets taken apart: L2 handover, round trips, processing, one bar a scheme."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from testbed.compare.document import Decomposition, Document
from testbed.report import theme
from testbed.report.drawing import NARROW, canvas, grid_along, note, svg_of
from testbed.report.plot import Plot, Table, Value

_KINDS = {
    "radio": (theme.RADIO, "", "L2 handover"),
    "travel": (theme.TRAVEL, "////", "on the way"),
    "processing": (theme.PROCESSING, "", "processing"),
    "other": (theme.OTHER, "....", "rest"),
}
_ROW_PX, _NARROW_LETTERS = 62, 52
_GAP_LOOK: dict[str, Any] = {
    "marker": "D", "color": theme.INK.light, "markersize": 6, "linestyle": "none", "zorder": 4, "clip_on": False,
}  # fmt: skip
_PAPER_LOOK: dict[str, Any] = {"color": theme.BAD.light, "linewidth": 2, "zorder": 3}


def plot(document: Document) -> Plot | None:
    """None where nothing could be taken apart."""
    bars = [one for one in document.drop_period if any(part.us for part in one.parts)]
    if not bars:
        return None

    def draw(width: int, name: str) -> str:
        narrow = width <= NARROW
        with canvas(width, (_ROW_PX + (28 if narrow else 0)) * len(bars) + (124 if narrow else 84)) as figure:
            axes = figure.subplots()
            end = max(_end_ms(one) for one in bars)
            for y, one in enumerate(bars):
                _bar(axes, y, one)
                _words(axes, y, one, end, narrow)
            axes.set_ylim(len(bars) - 0.55, -1.0 if narrow else -0.8)
            axes.set_xlim(0, end * 1.03)
            axes.set_yticks([])
            axes.set_xlabel("ms")
            grid_along(axes, "x")
            _legend(figure, bars, narrow)
            return svg_of(figure, name)

    return Plot(
        key="drop-period",
        title="The silence taken apart",
        caption=(
            "What the longest downlink silence of a handover consists of at the base point, mean over the handovers. "
            "The diamond is the silence as the MN heard it, counted from packet to packet: it comes in steps of the "
            "packets' interval, and the rest is the wait for the next one."
            + "".join(f" The paper on {names}: {words}." for words, names in _paper_words(bars).items())
        ),
        alt="Stacked bars. "
        + " ".join(f"{theme.name_of(one.scheme, one.mode)}: {_sum_in_words(one)}." for one in bars),
        table=Table(
            ["scheme", "mode", "part", "kind", "mean_us", "sd_us", "n", "paper_us"],
            [row for one in bars for row in _rows(one)],
        ),
        draw=draw,
    )


def _bar(axes: Axes, y: int, one: Decomposition) -> None:
    left = paper_ms = 0.0
    for part in one.parts:
        if part.us:
            axes.barh(y, part.us.mean / 1000, 0.34, left=left, **_look(part.kind))
            left += part.us.mean / 1000
            if part.kind != "other":
                paper_ms += (part.us.mean if part.paper_us is None else part.paper_us) / 1000
    if _of_paper(one):
        axes.plot([paper_ms, paper_ms], [y - 0.25, y + 0.25], **_PAPER_LOOK)
    if one.gap_us:
        axes.plot(one.gap_us.mean / 1000, y, **_GAP_LOOK)


def _words(axes: Axes, y: int, one: Decomposition, end: float, narrow: bool) -> None:
    lines = wrap(_sum_in_words(one), _NARROW_LETTERS) if narrow else [_sum_in_words(one)]
    above = y - 0.17
    over_the_lines = 3 + len(lines) * 12.5 if narrow else 3
    note(axes, theme.name_of(one.scheme, one.mode), (0, above), (0, over_the_lines), va="bottom", fontweight="bold")
    at, side = (0.0, "left") if narrow else (end, "right")
    note(axes, "\n".join(lines), (at, above), (0, 3), va="bottom", ha=side, fontsize=10, color=theme.MUTED.light)


def _legend(figure: Figure, bars: Sequence[Decomposition], narrow: bool) -> None:
    kinds = [kind for kind in _KINDS if any(part.kind == kind and part.us for one in bars for part in one.parts)]
    handles: list[Patch | Line2D] = [Patch(**_look(kind)) for kind in kinds]
    labels = [_KINDS[kind][2] for kind in kinds]
    if any(map(_of_paper, bars)):
        handles.append(Line2D([], [], **{**_PAPER_LOOK, "marker": "|", "markersize": 11, "linestyle": "none"}))
        labels.append("as the paper's formula has it")
    handles.append(Line2D([], [], **_GAP_LOOK))
    labels.append("longest silence seen, downlink")
    figure.legend(handles, labels, loc="outside upper left", ncols=1 if narrow else 3, handlelength=1.8)


def _look(kind: str) -> dict[str, Any]:
    colour, hatch, _ = _KINDS[kind]
    edge = theme.PAPER if hatch else theme.INK
    return {"facecolor": colour.light, "hatch": hatch, "edgecolor": edge.light, "linewidth": 0.5}


def _of_paper(one: Decomposition) -> bool:
    return any(part.paper_us is not None for part in one.parts)


def _paper_words(bars: Sequence[Decomposition]) -> dict[str, str]:
    """What the paper says of the period, and of which schemes."""
    labels = {
        one.paper: [theme.style_of(other.scheme).label for other in bars if other.paper == one.paper] for one in bars
    }
    return {words: " and ".join(dict.fromkeys(schemes)) for words, schemes in labels.items() if words}


def _rows(one: Decomposition) -> list[list[Value]]:
    rows: list[list[Value]] = []
    parts = [(part.name, part.kind, part.us, part.paper_us) for part in one.parts]
    for name, kind, us, paper_us in [*parts, ("sum", None, one.sum_us, None), ("gap", None, one.gap_us, None)]:
        rows.append([one.scheme, one.mode, name, kind, *((us.mean, us.sd, us.n) if us else (None, None, 0)), paper_us])
    return rows


def _end_ms(one: Decomposition) -> float:
    return max(sum(part.us.mean for part in one.parts if part.us), one.gap_us.mean if one.gap_us else 0) / 1000


def _sum_in_words(one: Decomposition) -> str:
    """By kind; what each part was stands in the table."""
    by_kind = {kind: sum(part.us.mean for part in one.parts if part.us and part.kind == kind) for kind in _KINDS}
    parts = " + ".join(f"{_KINDS[kind][2]} {us / 1000:.2f}" for kind, us in by_kind.items() if us)
    total = f" = {one.sum_us.mean / 1000:.2f} ms" if one.sum_us else " ms"
    return parts + total + (f", seen {one.gap_us.mean / 1000:.2f}" if one.gap_us else "")
