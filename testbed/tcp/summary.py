"""What TCP sent again, as a person reads it at a terminal."""

from typing import Any

from testbed.measurement.observations import DIRECTIONS
from testbed.table import table

_COLUMNS = {  # key in the JSON -> heading
    "all": "again",
    "by_network": "by network",
    "lost_on_air": "on air",
    "spurious": "spurious",
}


def render_tcp(result: dict[str, Any]) -> str:
    """Nothing if no TCP was asked for."""
    if "tcp" not in result:
        return ""
    tcp = result["tcp"]
    rows = [_row(str(one["index"]), one["mn"], one["tcp"]) for one in result["handovers"]]
    rows += [_row("", "outside", tcp["outside_handovers"]), _row("", "all", tcp["totals"])]
    headings = ["sent", *_COLUMNS.values()]
    groups = {2 + place * len(headings): direction for place, direction in enumerate(DIRECTIONS)}
    iperf3 = [f"{direction} {tcp['iperf3'][direction]['retransmits']} retransmits" for direction in DIRECTIONS]
    return "\n".join(
        [
            f"TCP, {tcp['mbit_s']:g} Mbit/s each way, segments sent again and why:",
            table(["#", "MN", *headings, *headings], rows, groups),
            f"iperf3 by TCP: {', '.join(iperf3)}",
        ]
    )


def _row(number: str, name: str, counts: dict[str, Any]) -> list[str]:
    figures = []
    for direction in DIRECTIONS:
        again = counts[direction]["retransmitted"]
        figures += [str(counts[direction]["sent"]), *(str(again[key]) for key in _COLUMNS)]
    return [number, name, *figures]
