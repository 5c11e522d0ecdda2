"""Loss and the longest silence: of all schemes where the sweep has its base, and over each thing that varies."""

from collections.abc import Sequence
from math import ceil, inf, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from testbed.compare.document import Document, Run
from testbed.report import theme
from testbed.report.drawing import NARROW, canvas, grid_along, grid_of, note, svg_of
from testbed.report.plot import Plot, Table, Value, key_of
from testbed.report.sweep import (
    CONTEXT,
    GAP,
    L2,
    LOST,
    SIGNALLED,
    Measure,
    Parameter,
    Series,
    base_runs,
    modes_of,
    seen,
    series_over,
)

_MEASURES = (*LOST, *GAP)
_OVER_CONTEXT = (LOST[0], *GAP, SIGNALLED)
_PANEL_PX, _BAR_PX, _DIGIT_PX = 168, 25, 6.6


def at_base(document: Document) -> Plot:
    """The picture of the comparison: a bar for each scheme and mode, loss and silence, both directions."""
    runs, base = base_runs(document), document.sweep.base
    names = [theme.name_of(run.scheme, run.mode) for run in runs]
    rows: list[list[Value]] = [
        [run.key, run.scheme, run.mode, measure.direction, measure.key, measure.unit, *seen(run, measure)]
        for run in runs
        for measure in _MEASURES
    ]

    def draw(width: int, name: str) -> str:
        columns = 2 if width <= NARROW else 4
        height = len(_MEASURES) // columns * (_BAR_PX * len(runs) + 62)
        with canvas(width, height) as figure:
            panels = grid_of(figure, len(_MEASURES) // columns, columns, sharey=True)
            for place, measure in enumerate(_MEASURES):
                axes = panels[place // columns][place % columns]
                _bars(axes, runs, measure, base.l2_ms, narrow=width <= NARROW)
            labels = [name.replace(", ", ",\n") if width <= NARROW else name for name in names]
            panels[0][0].set_yticks(range(len(runs)), labels)
            return svg_of(figure, name)

    def in_words(measure: Measure) -> str:
        figures = ", ".join(f"{name} {seen(run, measure).mean:.4g}" for name, run in zip(names, runs, strict=True))
        return f"{measure.label.capitalize()}, {measure.unit}: {figures}."

    return Plot(
        key="loss-and-silence",
        title="What a handover costs",
        caption=(
            f"Test packets that the network lost in a handover and the longest silence its receiver heard, mean over "
            f"the handovers at RTT {base.rtt_ms:g} ms, L2 {base.l2_ms:g} ms and {base.rate_pps:g} packets/s each way; "
            "whiskers reach from the least to the most. The dashed line is the L2 handover time, in which nobody could "
            "be heard: no scheme can be better. Frames sent on the air while no router listened count as no loss of "
            "the network's."
        ),
        alt="Bars. " + " ".join(map(in_words, _MEASURES)),
        table=Table(["run", "scheme", "mode", "direction", "measure", "unit", "mean", "min", "max", "handovers"], rows),
        draw=draw,
    )


def _bars(axes: Axes, runs: Sequence[Run], measure: Measure, l2_ms: float, narrow: bool) -> None:
    figures = [seen(run, measure) for run in runs]
    top = max([one.high for one in figures] + [l2_ms if measure in GAP else 1])
    for place, (run, one) in enumerate(zip(runs, figures, strict=True)):
        style = theme.style_of(run.scheme)
        hatch = "////" if run.mode == "predictive" else ""
        face = theme.PAPER.light if hatch else style.colour.light
        axes.barh(place, one.mean, 0.62, facecolor=face, edgecolor=style.colour.light, hatch=hatch, linewidth=1.2)
        if one.high > one.low:
            axes.plot([one.low, one.high], [place, place], color=theme.INK.light, linewidth=1.1, marker="|", ms=6)
        text = f"{one.mean:.1f}".removesuffix(".0")
        note(axes, text, (max(one.mean, one.high), place), (5, 0), va="center", fontsize=10.5)
    if measure in GAP:
        axes.axvline(l2_ms, color=theme.INK.light, linewidth=1.1, linestyle=(0, (4, 3)), zorder=3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(runs) - 0.4, -0.6)
    axes.set_xlim(0, top * (1.42 if narrow else 1.28))
    axes.xaxis.set_major_locator(MaxNLocator(3 if narrow else 4, integer=measure in LOST))
    axes.set_title(_title(measure, narrow))
    axes.set_xlabel(measure.unit)
    grid_along(axes, "x")


def over(document: Document, parameter: Parameter) -> Plot | None:
    """Loss and silence as a parameter varies; None if it does not."""
    every = series_over(document, parameter)
    if not every:
        return None
    modes, base = modes_of(every), document.sweep.base
    measures = _OVER_CONTEXT if parameter is CONTEXT else _MEASURES
    rows: list[list[Value]] = [
        [one.scheme, one.mode, value, measure.direction, measure.key, measure.unit, *figures]
        for one in every
        for measure in measures
        for value, figures in zip(one.values, one.of(measure), strict=True)
    ]

    def draw(width: int, name: str) -> str:
        narrow = width <= NARROW
        columns = 2 if narrow else 4
        per_mode = len(measures) // columns
        legend_px = 14 + 19 * ceil((len({one.scheme for one in every}) + 1) / (2 if narrow else 5))
        with canvas(width, legend_px + len(modes) * (per_mode * (_PANEL_PX + 12) + 28)) as figure:
            panels = grid_of(figure, len(modes) * per_mode, columns, sharex=True)
            for row, mode in enumerate(modes):
                for place, measure in enumerate(measures):
                    axes = panels[row * per_mode + place // columns][place % columns]
                    _lines(axes, [one for one in every if one.mode == mode], measure, parameter)
                    _ticks(axes, every, 0.6 * width / columns)
                    _height(axes, every, measure)
                    axes.set_title(_title(measure, narrow))
                    if place == 0 and len(modes) > 1:
                        axes.set_title(f"{mode.upper()}\n{_title(measure, narrow)}")
                    axes.set_ylabel(measure.unit.partition(" ")[0])
            for axes in panels[-1]:
                axes.set_xlabel(f"{parameter.name if narrow else parameter.label}, {parameter.unit}")
            _legend(figure, every, narrow)
            return svg_of(figure, name)

    low, high = min(v for one in every for v in one.values), max(v for one in every for v in one.values)
    return Plot(
        key=key_of("over", parameter.field.partition("_")[0]),
        title=f"Over the {parameter.label}",
        caption=(
            f"Means over the handovers of a run, bands from the least to the most; {parameter.label} on the horizontal "
            f"axis{' (logarithmic)' if _logarithmic(every) else ''}, everything else as at the base point (RTT "
            f"{base.rtt_ms:g} ms, L2 {base.l2_ms:g} ms, {base.rate_pps:g} packets/s, context {base.context_bytes} "
            "octets)."
            + (" Hollow markers lie around others where schemes measure the same." if any(map(_hollow, every)) else "")
        ),
        alt=f"Lines over the {parameter.label}. "
        + " ".join(_in_words(one, measures, f"from {low:g} to {high:g} {parameter.unit}") for one in every),
        table=Table(
            ["scheme", "mode", parameter.field, "direction", "measure", "unit", "mean", "min", "max", "handovers"], rows
        ),
        draw=draw,
    )


def _lines(axes: Axes, every: Sequence[Series], measure: Measure, parameter: Parameter) -> None:
    for one in every:
        style = theme.style_of(one.scheme)
        figures = one.of(measure)
        axes.fill_between(
            one.values,
            [figure.low for figure in figures],
            [figure.high for figure in figures],
            facecolor=style.colour.light,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(one.values, [figure.mean for figure in figures], **_look(style))
    if measure in GAP and parameter is L2:
        shown = sorted({value for one in every for value in one.values})
        axes.plot(shown, shown, color=theme.INK.light, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    elif measure in GAP:
        (l2_ms,) = {run.l2_ms for one in every for run in one.runs}
        axes.axhline(l2_ms, color=theme.INK.light, linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def _height(axes: Axes, every: Sequence[Series], measure: Measure) -> None:
    """The same in all modes, so that they can be compared."""
    top = max(1, *(figure.high for one in every for figure in one.of(measure)))
    axes.set_ylim(-0.04 * top, 1.08 * top)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=measure in LOST))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _ticks(axes: Axes, every: Sequence[Series], width_px: float) -> None:
    """At the values measured, a label where there is room for it."""
    values = sorted({value for one in every for value in one.values})
    least = min(value for value in values if value > 0)  # there are two values at least, none negative
    if _logarithmic(every):  # as far down as that, in steps of it below
        axes.set_xscale("symlog", linthresh=least, linscale=0.9)

    def place(value: float) -> float:
        """In decades, if it is logarithmic: matplotlib gives the part below `least` the length of one."""
        if not _logarithmic(every):
            return value
        return value / least if value < least else 1 + log10(value / least)

    labels, last = [], -inf
    for value in values:
        at = (place(value) - place(values[0])) / (place(values[-1]) - place(values[0])) * width_px
        room = at - last >= _DIGIT_PX * (len(f"{value:g}") + 1.5)
        labels.append(f"{value:g}" if room else "")
        last = at if room else last
    axes.set_xticks(values, labels)
    axes.minorticks_off()


def _title(measure: Measure, narrow: bool) -> str:
    return (measure.label.replace("longest silence", "silence") if narrow else measure.label).capitalize()


def _look(style: theme.Style) -> dict[str, Any]:
    return {
        "color": style.colour.light,
        "linestyle": style.dash,
        "marker": style.marker,
        "markersize": style.size,
        "markerfacecolor": "none" if style.hollow else style.colour.light,
        "markeredgecolor": style.colour.light,
        "markeredgewidth": 1.4 if style.hollow else 0.6,
        "clip_on": False,
    }


def _legend(figure: Figure, every: Sequence[Series], narrow: bool) -> None:
    schemes = list(dict.fromkeys(one.scheme for one in every))
    handles = [Line2D([], [], **_look(theme.style_of(scheme))) for scheme in schemes]
    handles.append(Line2D([], [], color=theme.INK.light, linewidth=1, linestyle=(0, (4, 3))))
    labels = [*(theme.style_of(scheme).label for scheme in schemes), "L2 handover time"]
    figure.legend(handles, labels, loc="outside upper left", ncols=2 if narrow else 5, handlelength=3.2)


def _hollow(one: Series) -> bool:
    return theme.style_of(one.scheme).hollow


def _logarithmic(every: Sequence[Series]) -> bool:
    values = [value for one in every for value in one.values if value > 0]
    return max(values) / min(values) > 10


def _in_words(one: Series, measures: Sequence[Measure], span: str) -> str:
    parts = [
        f"{measure.label} {figures[0].mean:.4g} to {figures[-1].mean:.4g} {measure.unit}"
        for measure in measures
        for figures in [one.of(measure)]
    ]
    return f"{theme.name_of(one.scheme, one.mode)}, {span}: {'; '.join(parts)}."
