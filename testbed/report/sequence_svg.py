"""A message sequence chart drawn: lifelines down, time down to scale, messages at the moments when they were seen."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.report.drawing import NARROW
from testbed.report.sequence_chart import CN, PMAG, Chart, Letter, Message
from testbed.report.svg_canvas import Label, Line, SvgCanvas

_TOP, _BOTTOM = 46, 18
_PX_PER_MS, _HEIGHT_PX = 9.0, (380, 900)  # of the time, least and most
_LINE = 13
_LOST_PX = 14  # how far down a message that never arrived is drawn
_TICKS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
_LETTER = "font-weight: 700; fill: var(--bad)"


@dataclass(frozen=True)
class _Layout:
    """Where lanes and moments are, px."""

    x: dict[str, float]
    begin_us: float
    px_per_us: float

    def y(self, t_us: float) -> float:
        return _TOP + (t_us - self.begin_us) * self.px_per_us

    def line(self, message: Message) -> Line:
        x0, x1, y0 = self.x[message.sender], self.x[message.receiver], self.y(message.sent_us)
        if message.received_us is None:
            return Line(x0, y0, (x0 + x1) / 2, y0 + _LOST_PX)
        return Line(x0, y0, x1, self.y(message.received_us))


def draw(chart: Chart, width: int, name: str) -> str:
    """The chart as an SVG element."""
    narrow = width <= NARROW
    begin_us, end_us = chart.range_us
    tall = min(max((end_us - begin_us) / 1000 * _PX_PER_MS, _HEIGHT_PX[0]), _HEIGHT_PX[1])
    left, right = (44, width - 18) if narrow else (86, width - 330 if chart.letters else width - 60)
    step = (right - left) / (len(chart.lanes) - 1)
    layout = _Layout(
        {lane: left + step * place for place, lane in enumerate(chart.lanes)},
        begin_us,
        tall / ((end_us - begin_us) or 1),
    )
    canvas = SvgCanvas(name, 10 if narrow else 11.5)
    _time_axis(canvas, layout, begin_us / 1000, end_us / 1000, right)
    for lane, x in layout.x.items():
        _lifeline(canvas, chart, lane, Line(x, layout.y(begin_us) - 6, x, layout.y(end_us) + 8))
    _spans(canvas, layout, chart)
    _arrows(canvas, layout, chart.messages)
    _marks(canvas, layout, chart, narrow)
    _letters(canvas, layout, chart.letters)
    if not narrow:
        _meanings(canvas, layout, chart.letters, right + 12)
    _names(canvas, layout, chart.messages)
    return canvas.svg(width, _TOP + tall + _BOTTOM)


def _time_axis(canvas: SvgCanvas, layout: _Layout, begin_ms: float, end_ms: float, right: float) -> None:
    step = next((tick for tick in _TICKS_MS if (end_ms - begin_ms) / tick <= 9), _TICKS_MS[-1])
    first = int(begin_ms // step) + (begin_ms % step > 0)
    for tick in range(first * step, int(end_ms) + 1, step):
        y = layout.y(tick * 1000)
        canvas.line(Line(30, y, right + 12, y), "stroke: var(--rule); stroke-width: 0.8px")
        canvas.text(26, y, f"{tick}".replace("-", "\N{MINUS SIGN}"), "end", "fill: var(--muted)")
    canvas.text(26, _TOP - 20, "ms", "end", "fill: var(--muted)")


def _lifeline(canvas: SvgCanvas, chart: Chart, lane: str, line: Line) -> None:
    canvas.line(line, "stroke: var(--muted); stroke-width: 1.2px")
    canvas.text(line.x0, 11, lane, "middle", "font-weight: 700")
    node = chart.nodes.get(lane, "")
    if node.lower() != lane.lower():
        canvas.text(line.x0, 25, node, "middle", "fill: var(--muted)")


def _spans(canvas: SvgCanvas, layout: _Layout, chart: Chart) -> None:
    for span in chart.spans:
        x, top, bottom = layout.x[span.lane], layout.y(span.begin_us), layout.y(span.end_us)
        if span.kind == "away":
            canvas.line(Line(x, top, x, bottom), "stroke: var(--paper); stroke-width: 4px")
            canvas.line(Line(x, top, x, bottom), "stroke: var(--muted); stroke-width: 1.2px; stroke-dasharray: 1.5 4")
        else:
            style = "fill: var(--processing); stroke: var(--ink); stroke-width: 0.6px"
            canvas.rect(x - 4, top, 8, bottom - top, style)


def _arrows(canvas: SvgCanvas, layout: _Layout, messages: Iterable[Message]) -> None:
    for message in messages:
        line = layout.line(message)
        arrived = message.received_us is not None
        canvas.arrow(line, "stroke: var(--ink); stroke-width: 1.3px", head=arrived)
        if not arrived:  # half way, and a cross where it was last seen
            x, y, cross = line.x1, line.y1, "stroke: var(--bad); stroke-width: 2px"
            canvas.line(Line(x - 4, y - 4, x + 4, y + 4), cross)
            canvas.line(Line(x - 4, y + 4, x + 4, y - 4), cross)


def _marks(canvas: SvgCanvas, layout: _Layout, chart: Chart, narrow: bool) -> None:
    for mark in chart.marks:
        x, y = layout.x[mark.lane], layout.y(mark.t_us)
        canvas.dot(x, y, 3, "fill: var(--ink)")
        toward, anchor = (-1, "end") if mark.lane == CN else (1, "start")
        for place, line in enumerate(mark.text.split() if narrow else [mark.text]):
            canvas.text(x + toward * 7, y + place * _LINE * 0.9, line, anchor)


def _letters(canvas: SvgCanvas, layout: _Layout, letters: Sequence[Letter]) -> None:
    """Beside the lifeline, those close together as one, where they hide the least."""
    pills: list[tuple[str, float, list[str]]] = []
    for letter in sorted(letters, key=lambda one: (one.lane, one.t_us)):
        at = layout.y(letter.t_us)
        canvas.dot(layout.x[letter.lane], at, 2.2, "fill: var(--bad)")
        if pills and pills[-1][0] == letter.lane and at - pills[-1][1] < _LINE:
            pills[-1][2].append(letter.letter)
        else:
            pills.append((letter.lane, at, [letter.letter]))
    for lane, at, names in pills:
        sides = [(-8, "end"), (8, "start")] if lane == PMAG else [(8, "start"), (-8, "end")]
        candidates = [
            Label(layout.x[lane] + toward, at + shift, " ".join(names), canvas.font, anchor, _LETTER)
            for shift in (0, -_LINE / 2, _LINE / 2, -_LINE, _LINE)
            for toward, anchor in sides
        ]
        canvas.label(canvas.best(candidates))


def _meanings(canvas: SvgCanvas, layout: _Layout, letters: Sequence[Letter], inside: float) -> None:
    """A column beside the chart: each letter, when it was, what it means."""
    column = inside + 30
    in_time = sorted(letters, key=lambda one: one.t_us)
    for letter, y in zip(in_time, spread([layout.y(one.t_us) for one in in_time], _LINE + 2), strict=True):
        style = "stroke: var(--rule); stroke-width: 0.9px"
        canvas.line(Line(inside, layout.y(letter.t_us), column - 6, y), style)
        canvas.text(column, y, letter.letter, "start", _LETTER)
        canvas.text(column + 74, y, f"{letter.t_us / 1000:.2f} ms", "end", "font-variant-numeric: tabular-nums")
        canvas.text(column + 84, y, letter.meaning, "start", "fill: var(--muted)")


def _names(canvas: SvgCanvas, layout: _Layout, messages: Iterable[Message]) -> None:
    """Along the arrows, above them."""
    for group in _together(messages, layout):
        line = layout.line(group[0])
        counts = Counter(message.name for message in group)
        text = ", ".join(
            name if count == 1 else f"{name} \N{MULTIPLICATION SIGN}{count}" for name, count in counts.items()
        )
        low, high = sorted((line.x0, line.x1))
        crosses = any(low < x < high for x in layout.x.values())  # then its middle is on a lifeline
        candidates = []
        for fraction in (0.27, 0.73, 0.2, 0.8) if crosses else (0.5, 0.42, 0.58, 0.36, 0.64):
            x, y = line.at(fraction)
            candidates.append(Label(x, y - canvas.font * 0.72, text, canvas.font, "middle", "", line.slope_degrees))
        canvas.label(canvas.best(candidates))


def _together(messages: Iterable[Message], layout: _Layout) -> Iterable[list[Message]]:
    """Messages on the same way so close behind each other that they share a label."""
    groups: list[list[Message]] = []
    for message in messages:
        way = (message.sender, message.receiver)
        same = (group for group in reversed(groups) if (group[0].sender, group[0].receiver) == way)
        last = next(same, None)
        if last and layout.y(message.sent_us) - layout.y(last[0].sent_us) < _LINE:
            last.append(message)
        else:
            groups.append([message])
    return groups


def spread(places: Sequence[float], least: float) -> list[float]:
    """Places in ascending order moved apart to `least` between neighbours, each cluster around its own middle."""
    clusters: list[list[float]] = []  # of each: the sum of its places, their number
    for place in places:
        clusters.append([place, 1])
        while len(clusters) > 1 and _top(clusters[-1], least) - _bottom(clusters[-2], least) < least:
            total, number = clusters.pop()
            clusters[-1][0] += total
            clusters[-1][1] += number
    return [_top(cluster, least) + step * least for cluster in clusters for step in range(int(cluster[1]))]


def _top(cluster: Sequence[float], least: float) -> float:
    return cluster[0] / cluster[1] - (cluster[1] - 1) * least / 2


def _bottom(cluster: Sequence[float], least: float) -> float:
    return cluster[0] / cluster[1] + (cluster[1] - 1) * least / 2
