"""Figures 13 and 14 of the paper, measured: when each moment (a) to (k) was at each node, and what processing took."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from testbed.compare.document import Document, FigureSeen, MomentSeen, Statistic
from testbed.report import theme
from testbed.report.drawing import NARROW, canvas, grid_along, note, svg_of
from testbed.report.plot import Plot, Table, Value, key_of

EN_DASH = "\N{EN DASH}"
_ROLES = ("pMAG", "LMA", "nMAG")
_LANES_PX, _BAR_PX = 210, 34
_PAPER_LOOK: dict[str, Any] = {
    "facecolor": "none",
    "edgecolor": theme.MUTED.light,
    "linestyle": (0, (3, 2)),
    "linewidth": 1.1,
}
_ARROW = {"arrowstyle": "-|>", "color": theme.TRAVEL.light, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
_LETTER: dict[str, Any] = {
    "ha": "center",
    "fontweight": "bold",
    "color": theme.BAD.light,
    "zorder": 5,
    "bbox": {"facecolor": theme.PAPER.light, "edgecolor": "none", "pad": 0.6},
}
_APART = 16  # px between letters that are labelled on their own


def plots(document: Document) -> list[Plot]:
    figures = [document.figure13, document.figure14, *document.other_figures]
    return [_plot(figure) for figure in figures if figure]


def _plot(figure: FigureSeen) -> Plot:
    name = theme.name_of(figure.scheme, figure.mode)
    title = f"Figure {figure.figure}, measured: {name}" if figure.figure else f"As Figures 13 and 14: {name}"
    in_paper = any(interval.paper_us for interval in figure.processing)
    in_all = figure.processing_in_all
    return Plot(
        key=key_of("phases", figure.scheme, figure.mode),
        title=title,
        caption=(
            f"Means over {figure.handovers} handovers, from the moment when the radio let the MN go. Above, the "
            "moments at each node, to scale; thick stretches are those in which a node computes. Below, how long these "
            f"took, whiskers one standard deviation{'; hollow bars are what the paper printed' if in_paper else ''}. "
            f"{figure.note}"
        ).strip(),
        alt=(
            f"Timeline of {name}. "
            + "; ".join(f"({m.letter}) {m.meaning}: {_ms(m.t_us)}" for m in figure.moments)
            + ". Processing: "
            + "; ".join(f"{p.name} {_us(p.us)}{_of_paper(p.paper_us)}" for p in figure.processing)
            + f"; in all {_us(in_all.us)}{_of_paper(in_all.paper_us)}."
        ),
        table=_table(figure),
        draw=lambda width, ids: _draw(figure, width, ids),
    )


def _table(figure: FigureSeen) -> Table:
    rows: list[list[Value]] = []
    for moment in figure.moments:
        rows.append(["moment", moment.letter, moment.meaning, moment.role, *_columns(moment.t_us), None])
    for phase in figure.phases:
        rows.append(["phase", phase.name, None, None, *_columns(phase.us), None])
    for interval in figure.processing:
        rows.append(["processing", interval.name, None, interval.node, *_columns(interval.us), interval.paper_us])
    in_all = figure.processing_in_all
    rows.append(["processing", "in all", None, None, *_columns(in_all.us), in_all.paper_us])
    return Table(["kind", "name", "meaning", "node", "mean_us", "sd_us", "min_us", "max_us", "n", "paper_us"], rows)


def _columns(statistic: Statistic | None) -> list[Value]:
    if statistic is None:
        return [None, None, None, None, 0]
    return [statistic.mean, statistic.sd, statistic.min, statistic.max, statistic.n]


def _draw(figure: FigureSeen, width: int, name: str) -> str:
    bars = len(figure.processing) + 1
    bars_px = bars * _BAR_PX + 64
    with canvas(width, _LANES_PX + bars_px) as drawing:
        lanes, processing = drawing.subplots(2, 1, height_ratios=[_LANES_PX, bars_px])
        _draw_lanes(lanes, figure, width)
        _draw_processing(processing, figure, narrow=width <= NARROW)
        return svg_of(drawing, name)


def _draw_lanes(axes: Axes, figure: FigureSeen, width: int) -> None:
    seen = {moment.letter: moment for moment in figure.moments if moment.t_us}
    at = {letter: moment.t_us.mean / 1000 for letter, moment in seen.items() if moment.t_us}
    roles = list(dict.fromkeys([*_ROLES, *(moment.role for moment in seen.values())]))
    lane = {role: -place for place, role in enumerate(roles)}
    end = max(at.values(), default=1.0) * 1.03
    begin = min([0.0, *at.values()]) - end * 0.02
    axes.hlines(list(lane.values()), begin, end, color=theme.RULE.light, linewidth=1.2, zorder=1)
    for one, following in pairwise(seen.values()):
        if one.role != following.role and " sent " in one.meaning:
            ends = (at[following.letter], lane[following.role]), (at[one.letter], lane[one.role])
            axes.annotate("", *ends, arrowprops=_ARROW)
    for interval in figure.processing:
        begins, _, ends_with = interval.name.partition("-")
        if begins in at and ends_with in at:
            y = lane[seen[ends_with].role]
            axes.hlines(y, at[begins], at[ends_with], color=theme.PROCESSING.light, linewidth=9, zorder=2)
    for letter, moment in seen.items():
        axes.plot(at[letter], lane[moment.role], "o", color=theme.INK.light, markersize=4, zorder=3)
    apart = _APART * (end - begin) / (width - 80)
    for role, y in lane.items():
        for letters in _close_together([moment for moment in seen.values() if moment.role == role], at, apart):
            middle = sum(at[letter] for letter in letters) / len(letters)
            note(axes, " ".join(letters), (middle, y), (0, 8), **_LETTER)
    axes.set_yticks(list(lane.values()), list(lane))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-len(lane) + 0.6, 0.55)
    axes.set_xlim(begin, end)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("ms since the detach")
    grid_along(axes, "x")


def _close_together(moments: Sequence[MomentSeen], at: dict[str, float], apart: float) -> list[list[str]]:
    groups: list[list[str]] = []
    for moment in sorted(moments, key=lambda one: at[one.letter]):
        if groups and at[moment.letter] - at[groups[-1][-1]] < apart:
            groups[-1].append(moment.letter)
        else:
            groups.append([moment.letter])
    return groups


def _draw_processing(axes: Axes, figure: FigureSeen, narrow: bool) -> None:
    in_all = figure.processing_in_all
    rows = [(f"{one.name.replace('-', EN_DASH)}  {one.node}", one.us, one.paper_us) for one in figure.processing]
    rows.append(("in all", in_all.us, in_all.paper_us))
    top = max([one.mean + (one.sd or 0) for _, one, _ in rows if one] + [paper or 0 for _, _, paper in rows] + [1])
    for y, (_, measured, paper_us) in enumerate(rows):
        low = y + (0.2 if paper_us else 0)
        if measured:
            axes.barh(
                low, measured.mean, 0.36, facecolor=theme.PROCESSING.light, edgecolor=theme.INK.light,
                linewidth=0.6, xerr=measured.sd, ecolor=theme.INK.light,
            )  # fmt: skip
        reach = measured.mean + (measured.sd or 0) if measured else 0
        _label(axes, reach, low, f"{measured.mean:,.1f}" if measured else "not seen")
        if paper_us:
            axes.barh(y - 0.2, paper_us, 0.34, **_PAPER_LOOK)
            _label(axes, paper_us, y - 0.2, f"{paper_us:,.1f} {'paper' if narrow else 'in the paper'}")
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(0, top * (1.5 if narrow else 1.22))
    axes.set_title("Processing")
    axes.set_xlabel("µs")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    grid_along(axes, "x")


def _label(axes: Axes, x: float, y: float, text: str) -> None:
    note(axes, text, (x, y), (5, 0), va="center", fontsize=10.5)


def _ms(statistic: Statistic | None) -> str:
    return f"{statistic.mean / 1000:.2f} ms" if statistic else "not seen"


def _us(statistic: Statistic | None) -> str:
    return f"{statistic.mean:.1f} µs" if statistic else "not seen"


def _of_paper(paper_us: float | None) -> str:
    return f" (paper {paper_us:,.1f} µs)" if paper_us else ""
