"""What a person reads of a measurement."""

from pathlib import Path
from typing import Any

import pytest

from testbed.measurement.measure import measure
from testbed.measurement.summary import compare, render
from testbed.table import table
from tests.made_handover import made_run
from tests.run_builder import MS, RunBuilder


@pytest.fixture
def result(tmp_path: Path) -> dict[str, Any]:
    run = made_run(2)
    run.ping = {"mn": {"sent": 0, "received": 0}}
    counts = {"packets_sent": 600, "packets": 600, "out_of_order": 0}
    run.iperf3 = {"mn": {"downlink": {**counts, "lost_packets": 26}, "uplink": {**counts, "lost_packets": 24}}}
    return measure(run.write(tmp_path / "run"))


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_one_run(result: dict[str, Any]) -> None:
    text = render(result)
    lines = words(text)
    assert text.startswith("pmipv6, reactive: 2 handovers, RTT 10 ms, L2 50 ms, 200 packets/s each way (vm, ")
    downlink, uplink = ["39", "13", "0", "0", "0", "70.00"], ["39", "2", "0", "0", "10", "65.00"]
    assert ["1", "mn", "mag2", "mag1", *downlink, *uplink] in lines
    assert ["mean", *downlink, *uplink] in lines
    assert ["h-i", "600.0", "600.0", "597.8"] in lines
    assert ["in", "all", "1700.0", "1677.6"] in lines
    assert ["k", "nMAG", "forwards", "800.0", "800.0", "800.0", "61900.0", "2"] in lines
    assert "one letter early" in text
    assert "iperf3 downlink: 600 packets, 26 lost, 0 out of order" in text
    assert "The captures say the same." in text
    assert "To be looked at" not in text


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    run = RunBuilder()
    run.move("mn", "mag1", "mag2", 1000 * MS, 1050 * MS)
    run.downlink(1, 1000 * MS)
    text = render(measure(run.write(tmp_path / "run")))
    assert "mn downlink: iperf3 reported no counts" in text
    assert "handover 0 (mn): not served again, downlink" in text
    assert "handover 0 (mn): not seen: a, b, c, d, e, f, g, h, i, j, k" in text
    assert text.startswith("pmipv6, reactive: 1 handover, RTT")
    assert ["k", "nMAG", "forwards", "-", "-", "-", "-", "0"] in words(text)


def test_a_repeated_pbu_is_said(result: dict[str, Any]) -> None:
    again = {**result["handovers"][0]}
    again["timeline"] = [*again["timeline"], {"t_us": 60000.0, "node": "mag2", "event": "PBU sent", "peer": "lma"}]
    assert "In 1 of 1 handovers the PBU was sent more than once" in render({**result, "handovers": [again]})
    assert "more than once" not in render(result)


def test_side_by_side(result: dict[str, Any]) -> None:
    other = {**result, "scheme": "context-reflector", "mode": "predictive"}
    lines = words(compare([result, other]))
    assert ["pmipv6", "context-reflector", "predictive"] in lines
    assert ["downlink", "lost", "13", "13"] in lines
    assert ["uplink", "longest", "gap,", "ms", "65.00", "65.00"] in lines
    assert ["processing,", "µs", "1700.0", "-"] in lines
    assert ["outside,", "reordered", "0", "0"] in lines


def test_table_puts_numbers_to_the_right() -> None:
    assert table(["n", "what"], [["1", "a"], ["-22.5", "bb"]], {1: "group"}).splitlines() == [
        "       group",
        "    n  what",
        "-----------",
        "    1  a",
        "-22.5  bb",
    ]
