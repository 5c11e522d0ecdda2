"""What a handover's signalling costs: messages, and octets by the name of the message."""

from statistics import mean

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from testbed.compare.document import Document, Run
from testbed.report import theme
from testbed.report.drawing import NARROW, canvas, grid_along, note, svg_of
from testbed.report.plot import Plot, Table
from testbed.report.sweep import base_runs

_ROW_PX = 46


def plot(document: Document) -> Plot:
    runs = base_runs(document)
    by_run = [octets_of(run) for run in runs]

    def draw(width: int, name: str) -> str:
        narrow = width <= NARROW
        with canvas(width, (_ROW_PX + (14 if narrow else 0)) * len(runs) + 52) as figure:
            axes = figure.subplots()
            end = max((sum(octets.values()) for octets in by_run), default=1)
            for y, (run, octets) in enumerate(zip(runs, by_run, strict=True)):
                _bar(axes, y, run, octets, width / end)
                _words(axes, run, octets, (0 if narrow else end, y), narrow)
            axes.set_ylim(len(runs) - 0.6, -0.85 if narrow else -0.75)
            axes.set_xlim(0, end * 1.01)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.set_xlabel("octets of IPv6 packets per handover")
            grid_along(axes, "x")
            return svg_of(figure, name)

    return Plot(
        key="signalling-octets",
        title="Signalling of a handover",
        caption=(
            "Octets of the IPv6 packets with a Mobility Header, as often as they were sent, mean over the handovers at "
            f"the base point, with a context of {document.sweep.base.context_bytes} octets where the scheme "
            "carries one."
        ),
        alt="Stacked bars. "
        + " ".join(
            f"{theme.name_of(run.scheme, run.mode)}: {sum(octets.values()):.0f} octets ("
            + ", ".join(f"{name} {size:.0f}" for name, size in octets.items())
            + ")."
            for run, octets in zip(runs, by_run, strict=True)
        ),
        table=Table(
            ["run", "scheme", "mode", "message", "octets_per_handover"],
            [
                [run.key, run.scheme, run.mode, name, size]
                for run, octets in zip(runs, by_run, strict=True)
                for name, size in octets.items()
            ],
        ),
        draw=draw,
    )


def _bar(axes: Axes, y: int, run: Run, octets: dict[str, float], px_per_octet: float) -> None:
    left, colour = 0.0, theme.style_of(run.scheme).colour.light
    for message, size in octets.items():
        axes.barh(y, size, 0.4, left=left, facecolor=theme.SHADE.light, edgecolor=colour, linewidth=1.4)
        if size * px_per_octet > 8 * len(message) + 10:
            note(axes, message, (left + size / 2, y), ha="center", va="center", fontsize=9.5)
        left += size


def _words(axes: Axes, run: Run, octets: dict[str, float], at: tuple[float, float], narrow: bool) -> None:
    messages = f" in {run.observed.messages.mean:.3g} messages" if run.observed.messages else ""
    text = f"{sum(octets.values()):,.0f} octets{messages}"
    above, name = at[1] - 0.26, theme.name_of(run.scheme, run.mode)
    note(axes, name, (0, above), (0, 14 if narrow else 0), va="bottom", fontweight="bold")
    note(axes, text, (at[0], above), va="bottom", ha="left" if narrow else "right", color=theme.MUTED.light)


def octets_of(run: Run) -> dict[str, float]:
    """By message name, the mean over the handovers."""
    signalled = [handover["bytes_signalled"] for handover in run.handover["handovers"]]
    names = dict.fromkeys(name for octets in signalled for name in octets)
    return {name: mean(octets.get(name, 0) for octets in signalled) for name in names}
