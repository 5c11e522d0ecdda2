"""A measurement as a person reads it at a terminal: one run, or several side by side."""

from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import Any

from testbed.measurement.observations import DIRECTIONS
from testbed.measurement.phases import FIGURES, Figure
from testbed.table import table
from testbed.tcp.summary import render_tcp

Result = dict[str, Any]
_COLUMNS = {  # key in the JSON -> heading
    "sent": "sent",
    "lost": "lost",
    "duplicated": "dup",
    "reordered": "reord",
    "lost_on_air": "on air",
    "gap_ms": "gap ms",
}
_FAULTS = {"lost": "lost", "duplicated": "duplicated", "reordered": "reordered", "lost_on_air": "lost on air"}
_SHOWN_NOTES = 10
_NOT_MEASURED = "-"
_FORMULA_NOTE = (
    "(The formula printed in the paper names these intervals one letter early, e-f, g-h and i-j; its own text and the\n"
    "RTT in it fit only the reading used here.)"
)


def render(result: Result) -> str:
    """One run: every handover, the means, the phases beside the paper's figures, ping and iperf3, and what is odd."""
    parts = [
        _title(result),
        _handovers(result),
        "Outside handovers: " + _outside(result),
        _phases(result),
        _signalling(result),
        render_tcp(result),
        _ping_and_iperf3(result),
        _oddities(result),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def compare(results: Sequence[Result]) -> str:
    """Several runs, a column each: means over a run's handovers, and what happened outside them."""
    rows = [["handovers", *(str(len(result["handovers"])) for result in results)]]
    for direction in DIRECTIONS:
        for key, label in _FAULTS.items():
            rows.append([f"{direction} {label}", *(_number(mean(_column(one, direction, key))) for one in results)])
        gaps = [_column(result, direction, "gap_ms") for result in results]
        rows.append([f"{direction} gap, ms", *(f"{mean(gap):.2f}" for gap in gaps)])
        rows.append([f"{direction} longest gap, ms", *(f"{max(gap):.2f}" for gap in gaps)])
    rows.append(["signalling, octets", *(_number(sum(_octets(result).values())) for result in results)])
    rows.append(["processing, µs", *map(_processing_in_all, results)])
    for key, label in _FAULTS.items():
        outside = [result["outside_handovers"] for result in results]
        rows.append([f"outside, {label}", *(str(sum(one[to][key] for to in DIRECTIONS)) for one in outside)])
    titles = "\n".join(map(_title, results))
    oddities = [f"{_name(result)}. {_oddities(result)}" for result in results if _oddities(result)]
    return "\n\n".join([titles, "Means over the handovers:", table(["", *map(_name, results)], rows), *oddities]) + "\n"


def _name(result: Result) -> str:
    return str(result["scheme"]) + ("" if result["mode"] == "reactive" else f" {result['mode']}")


def _title(result: Result) -> str:
    count = len(result["handovers"])
    return (
        f"{result['scheme']}, {result['mode']}: {count} {'handover' if count == 1 else 'handovers'}, "
        f"RTT {result['rtt_ms']:g} ms, L2 {result['l2_ms']:g} ms, {result['rate_pps']:g} packets/s each way "
        f"({result['backend']}, kernel {result['kernel']}, {result['clock']} clock)"
    )


def _handovers(result: Result) -> str:
    who = ["#", "MN", "from", "to"]
    rows = [
        [
            *(str(handover[key]) for key in ("index", "mn", "from", "to")),
            *(_figure(key, handover[direction][key]) for direction in DIRECTIONS for key in _COLUMNS),
        ]
        for handover in result["handovers"]
    ]
    for label, of in (("mean", mean), ("max", max)) if len(rows) > 1 else ():
        figures = [_figure(key, of(_column(result, direction, key))) for direction in DIRECTIONS for key in _COLUMNS]
        rows.append(["", label, "", "", *figures])
    groups = {len(who) + place * len(_COLUMNS): direction for place, direction in enumerate(DIRECTIONS)}
    return table([*who, *_COLUMNS.values(), *_COLUMNS.values()], rows, groups)


def _outside(result: Result) -> str:
    return "; ".join(
        f"{direction} "
        + ", ".join(f"{result['outside_handovers'][direction][key]} {label}" for key, label in _FAULTS.items())
        for direction in DIRECTIONS
    )


def _phases(result: Result) -> str:
    figure = FIGURES.get(result["scheme"])
    if figure is None:
        return ""
    rows = []
    for letter, meaning, _ in figure.moments:
        took = _of_all(result, "processing_us", letter)
        since_detach = _of_all(result, "phase_t_us", letter)
        figures = [*(_microseconds(of, took) for of in (mean, median, max)), _microseconds(mean, since_detach)]
        rows.append([letter, meaning, *figures, str(len(took))])
    header = ["", "", "mean", "median", "max", "from detach", "seen"]
    return "\n".join(
        [
            f"Phases as in Figure {figure.number}, µs from the moment before:",
            table(header, rows),
            "",
            _processing(result, figure),
        ]
    )


def _processing(result: Result, figure: Figure) -> str:
    rows = []
    for interval in figure.processing:
        took = _of_all(result, "processing", interval.name)
        measured = [_microseconds(of, took) for of in (mean, median)]
        rows.append([interval.name, *measured, _paper(interval.paper_us)])
    known_us = [interval.paper_us for interval in figure.processing if interval.paper_us is not None]
    repeated = sum(_times_sent(handover, "PBU") > 1 for handover in result["handovers"])
    rows.append(["in all", _processing_in_all(result), "", _paper(sum(known_us) if known_us else None)])
    lines = ["Processing, µs:", table(["", "mean", "median", "paper"], rows)]
    if known_us:
        lines.append(_FORMULA_NOTE)
    if repeated:
        lines.append(
            f"In {repeated} of {len(result['handovers'])} handovers the PBU was sent more than once: "
            "the attempt that was answered counts,\nand the phase before that PBU holds the wait for it."
        )
    return "\n".join(lines)


def _paper(microseconds: float | None) -> str:
    return "-" if microseconds is None else f"{microseconds:.1f}"


def _times_sent(handover: dict[str, Any], message: str) -> int:
    return sum(event["event"] == f"{message} sent" for event in handover["timeline"])


def _processing_in_all(result: Result) -> str:
    """The mean over the handovers in which every interval of the figure was seen."""
    figure = FIGURES.get(result["scheme"])
    intervals = {interval.name for interval in figure.processing} if figure else set()
    whole = [one["processing"] for one in result["handovers"] if intervals and intervals == set(one["processing"])]
    return _microseconds(mean, [sum(processing.values()) for processing in whole])


def _signalling(result: Result) -> str:
    octets = _octets(result)
    listed = ", ".join(f"{name} {_number(size)}" for name, size in octets.items())
    return f"Signalling per handover, octets: {_number(sum(octets.values()))}" + (f" ({listed})" if listed else "")


def _octets(result: Result) -> dict[str, float]:
    """By message name, the mean over the handovers."""
    signalled = [handover["bytes_signalled"] for handover in result["handovers"]]
    names = dict.fromkeys(name for octets in signalled for name in octets)
    return {name: mean(octets.get(name, 0) for octets in signalled) for name in names}


def _ping_and_iperf3(result: Result) -> str:
    ping = result["ping"]
    lines = [f"ping: {ping['sent']} sent, {ping['received']} answered"]
    for direction, counts in result["iperf3"].items():
        if "lost_packets" in counts:
            lines.append(
                f"iperf3 {direction}: {counts['packets']} packets, {counts['lost_packets']} lost, "
                f"{counts['out_of_order']} out of order"
            )
    if result["captures"]["whole"]:
        lines.append("The captures say the same.")
    return "\n".join(lines)


def _oddities(result: Result) -> str:
    """Whatever makes the figures above less than they seem."""
    notes = list(result["captures"]["notes"])
    for handover in result["handovers"]:
        name = f"handover {handover['index']} ({handover['mn']})"
        notes += [
            f"{name}: not served again, {direction}"
            for direction in DIRECTIONS
            if handover[direction]["sent"] and not handover[direction]["served_again"]
        ]
        unseen = [letter for letter in handover["phases_missing"] if letter != "all"]
        notes += [f"{name}: not seen: {', '.join(unseen)}"] if unseen else []
    if not notes:
        return ""
    more = [f"... and {len(notes) - _SHOWN_NOTES} more"] if len(notes) > _SHOWN_NOTES else []
    return "\n  ".join(["To be looked at:", *notes[:_SHOWN_NOTES], *more])


def _column(result: Result, direction: str, key: str) -> list[float]:
    return [handover[direction][key] for handover in result["handovers"]]


def _of_all(result: Result, key: str, letter: str) -> list[float]:
    return [handover[key][letter] for handover in result["handovers"] if letter in handover[key]]


def _figure(key: str, value: float) -> str:
    return f"{value:.2f}" if key == "gap_ms" else _number(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _microseconds(of: Callable[[Sequence[float]], float], values: Sequence[float]) -> str:
    return f"{of(values):.1f}" if values else _NOT_MEASURED
