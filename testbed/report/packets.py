"""Packet by packet around one handover: the delay of each over the moment when it was sent, both directions."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from testbed.compare.document import Document, Run
from testbed.measurement.observations import DIRECTIONS
from testbed.report import theme
from testbed.report.drawing import NARROW, canvas, svg_of
from testbed.report.plot import Plot, Table, key_of
from testbed.report.sequence_chart import typical
from testbed.report.sweep import base_runs

RECEIVED, LOST, LOST_ON_AIR = "received", "lost", "lost_on_air"
_US_PER_MS = 1000
_PANEL_PX = 190
_BEFORE_MS, _AFTER_MS = 25.0, 40.0  # shown around the time from the detach to when all is as before


class Packet(NamedTuple):
    """Microseconds, `sent_us` from the detach; `delay_us` is None for one that did not arrive.

    `path` are the nodes that it was seen at, `cn>inet>lma>mag1>mn`.
    """

    direction: str
    sequence: int
    sent_us: float
    delay_us: float | None
    fate: str
    path: str


def plots(document: Document, records: Path) -> list[Plot]:
    """One for each scheme and mode at the base point whose packets lie beside the JSON."""
    seen = []
    for run in base_runs(document):
        if run.packets and (records / run.packets).is_file():
            handover = typical(run)
            if packets := packets_of(records / run.packets, handover):
                seen.append((run, handover, packets))
    if not seen:
        return []
    longest_us = max((packet.delay_us or 0 for _, _, packets in seen for packet in packets), default=0) or _US_PER_MS
    latest_us = max(
        (packet.sent_us for _, _, packets in seen for packet in packets if _is_unusual(packet, packets)), default=0
    )
    frame = _Frame(
        -_BEFORE_MS, max(latest_us / _US_PER_MS, document.sweep.base.l2_ms) + _AFTER_MS, longest_us / _US_PER_MS
    )
    return [_plot(run, handover, packets, frame) for run, handover, packets in seen]


def packets_of(file: Path, handover: dict[str, Any]) -> list[Packet]:
    """The packets that belong to that handover of that MN, in the order in which they were sent."""
    with file.open(newline="") as lines:
        rows = [
            Packet(
                row["direction"],
                int(row["sequence"]),
                float(row["sent_us"]),
                float(row["delay_us"]) if row["delay_us"] else None,
                row["fate"],
                row["path"],
            )
            for row in csv.DictReader(lines)
            if row["handover"] == str(handover["index"]) and row["mn"] == handover["mn"]
        ]
    return sorted(rows, key=lambda packet: (packet.direction, packet.sent_us))


class _Frame(NamedTuple):
    """What all plots have in common, so that they can be compared: ms."""

    begin: float
    end: float
    top: float


def _is_unusual(packet: Packet, packets: Sequence[Packet]) -> bool:
    delays = [one.delay_us for one in packets if one.direction == packet.direction and one.delay_us is not None]
    return packet.delay_us is None or packet.delay_us > 1.1 * min(delays)


def _plot(run: Run, handover: dict[str, Any], packets: Sequence[Packet], frame: _Frame) -> Plot:
    name = theme.name_of(run.scheme, run.mode)

    def draw(width: int, ids: str) -> str:
        narrow = width <= NARROW
        rows, columns = (2, 1) if narrow else (1, 2)
        with canvas(width, rows * _PANEL_PX + 34) as figure:
            panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
            for axes, direction in zip(panels, DIRECTIONS, strict=True):
                _panel(axes, [packet for packet in packets if packet.direction == direction], run, frame)
                axes.set_title(direction.capitalize())
            for axes in panels if not narrow else panels[-1:]:
                axes.set_xlabel("sent, ms since the detach")
            for axes in panels if narrow else panels[:1]:
                axes.set_ylabel("one-way delay, ms")
            handles, labels = _legend(run, packets)
            figure.legend(handles, labels, loc="outside upper left", ncols=2 if narrow else 4, handlelength=1.4)
            return svg_of(figure, ids)

    return Plot(
        key=key_of("packets", run.scheme, run.mode),
        title=name,
        caption=(
            f"Every test packet around handover {handover['index']}: when it was sent and how long it was under way. "
            "Packets that did not arrive stand on the line above. Shaded: the MN has no link."
        ),
        alt=f"Delay of each packet, {name}. " + " ".join(_in_words(packets, direction) for direction in DIRECTIONS),
        table=Table(
            ["direction", "sequence", "sent_us", "delay_us", "fate", "path"],
            [list(packet) for packet in packets],
        ),
        draw=draw,
    )


def _panel(axes: Axes, packets: Sequence[Packet], run: Run, frame: _Frame) -> None:
    shown = [packet for packet in packets if frame.begin <= packet.sent_us / _US_PER_MS <= frame.end]
    axes.axvspan(0, run.l2_ms, facecolor=theme.SHADE.light, linewidth=0, zorder=0)
    drawn = []
    for detour in (False, True):
        points = [
            (packet.sent_us / _US_PER_MS, packet.delay_us / _US_PER_MS)
            for packet in shown
            if packet.delay_us is not None and _is_detour(packet, packets) is detour
        ]
        drawn += axes.plot(*_columns(points), **_look(run, detour))
    top = frame.top * 1.18
    for fate, look in _FATES.items():
        points = [(packet.sent_us / _US_PER_MS, top) for packet in shown if packet.fate == fate]
        drawn += axes.plot(*_columns(points), **look)
    for points_drawn in drawn:
        points_drawn.set_clip_on(False)
        points_drawn.set_in_layout(False)
    axes.axhline(top, color=theme.RULE.light, linewidth=0.8, zorder=0)
    axes.set_xlim(frame.begin, frame.end)
    axes.set_ylim(0, top * 1.06)


def _is_detour(packet: Packet, packets: Iterable[Packet]) -> bool:
    """Whether it was seen at more nodes than others of its direction."""
    ways = [one.path.count(">") for one in packets if one.direction == packet.direction and one.fate == RECEIVED]
    return packet.fate == RECEIVED and packet.path.count(">") > min(ways)


def _look(run: Run, detour: bool) -> dict[str, Any]:
    colour = theme.style_of(run.scheme).colour.light
    return {
        "linestyle": "none",
        "marker": "o",
        "color": colour,
        "markersize": 5,
        "markerfacecolor": theme.PAPER.light if detour else colour,
        "markeredgewidth": 1.3,
    }


_FATES: dict[str, dict[str, Any]] = {
    LOST: {"linestyle": "none", "marker": "x", "color": theme.BAD.light, "markersize": 6.5, "markeredgewidth": 1.8},
    LOST_ON_AIR: {
        "linestyle": "none",
        "marker": "|",
        "color": theme.MUTED.light,
        "markersize": 9,
        "markeredgewidth": 1.4,
    },
}
_FATE_LABELS = {LOST: "lost by the network", LOST_ON_AIR: "on the air, nobody there"}


def _legend(run: Run, packets: Sequence[Packet]) -> tuple[list[Line2D], list[str]]:
    looks = {"arrived": _look(run, detour=False)}
    if any(_is_detour(packet, packets) for packet in packets):
        looks["arrived, by more nodes than usual"] = _look(run, detour=True)
    fates = {packet.fate for packet in packets}
    looks |= {_FATE_LABELS[fate]: look for fate, look in _FATES.items() if fate in fates}
    return [Line2D([], [], **look) for look in looks.values()], list(looks)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _in_words(packets: Iterable[Packet], direction: str) -> str:
    own = [packet for packet in packets if packet.direction == direction]
    delays = [packet.delay_us / _US_PER_MS for packet in own if packet.delay_us is not None]
    lost, on_air = (sum(packet.fate == fate for packet in own) for fate in (LOST, LOST_ON_AIR))
    took = f"delays from {min(delays):.1f} to {max(delays):.1f} ms, " if delays else ""
    return f"{direction.capitalize()}: {len(own)} packets, {took}{lost} lost, {on_air} on the air."
