"""What `testbed.measurement.measure` says of runs whose truth is known, because the tests made them."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import testbed
from testbed.measurement.measure import measure
from testbed.run.run_directory import MeasurementError
from tests.made_handover import MOMENTS_US, US, MadeHandover, add_traffic, made_run
from tests.run_builder import ADDRESS_OF_MN, ADDRESSES, CORE, ETH0, HNP, MS, RunBuilder, iperf3_packet, ipv6

SCHEMA = json.loads((Path(testbed.__file__).parent / "handover.schema.json").read_text())
FAULTS = ("lost", "duplicated", "reordered", "lost_on_air")
NO_FAULTS = dict.fromkeys(FAULTS, 0)
Measured = Callable[[RunBuilder], dict[str, Any]]


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    """Write a run, measure it, and hold the result against the schema and against itself."""

    def of(run: RunBuilder) -> dict[str, Any]:
        result = measure(run.write(tmp_path / "run"))
        jsonschema.validate(result, SCHEMA)
        assert json.loads(json.dumps(result)) == result
        for direction in ("downlink", "uplink"):
            for name in ("sent", "received", *FAULTS):
                parts = [handover[direction][name] for handover in result["handovers"]]
                outside = result["outside_handovers"][direction][name]
                assert sum(parts) + outside == result["totals"][direction][name]
        return result

    return of


def faults(counts: dict[str, Any]) -> dict[str, int]:
    return {name: counts[name] for name in FAULTS}


def test_one_pmipv6_handover(measured: Measured) -> None:
    result = measured(made_run())
    (handover,) = result["handovers"]
    assert (handover["index"], handover["mn"], handover["from"], handover["to"]) == (0, "mn", "mag1", "mag2")
    # Detach at 1000 ms. Downlink: 995.5 ms finds the MN gone, 1055.5 ms is the last that the LMA drops: 13 packets.
    # Window: 975 ms to 1167.8 ms (first uplink packet at CN plus the settling), 39 packets each way.
    assert handover["downlink"] == {
        "sent": 39,
        "received": 26,
        "lost": 13,
        "duplicated": 0,
        "reordered": 0,
        "lost_on_air": 0,
        "gap_ms": 70.0,
        "served_again": True,
        "latency_ms": {"min": 5.3, "median": 5.3, "max": 5.3},
    }
    # Uplink: 1002.5 to 1047.5 ms on the air; 1052.5 and 1057.5 ms reach an nMAG that does not forward yet.
    assert faults(handover["uplink"]) == {**NO_FAULTS, "lost": 2, "lost_on_air": 10}
    assert (handover["uplink"]["sent"], handover["uplink"]["gap_ms"]) == (39, 65.0)
    assert faults(result["outside_handovers"]["downlink"]) == NO_FAULTS
    assert faults(result["outside_handovers"]["uplink"]) == NO_FAULTS


def test_phases_add_up_to_the_time_from_detach_to_forwarding(measured: Measured) -> None:
    (handover,) = measured(made_run())["handovers"]
    assert handover["phase_t_us"] == MOMENTS_US
    moments = [0, *MOMENTS_US.values()]
    expected = [later - earlier for earlier, later in pairwise(moments)]
    assert list(handover["processing_us"].values()) == expected
    assert sum(handover["processing_us"].values()) == MOMENTS_US["k"]
    assert handover["processing"] == {"f-g": 300.0, "h-i": 600.0, "j-k": 800.0}
    assert handover["phases_missing"] == {}


def test_timeline_and_octets(measured: Measured) -> None:
    run = made_run()
    (handover,) = measured(run)["handovers"]
    assert [(event["t_us"], event["node"], event["event"]) for event in handover["timeline"]] == [
        (0, "mn", "detached"),
        (300, "mag1", "detach-noticed"),
        (500, "mag1", "PBU-dereg sent"),
        (5500, "lma", "PBU-dereg received"),
        (5800, "lma", "PBA sent"),
        (10800, "mag1", "PBA received"),
        (50000, "mn", "attached"),
        (50200, "mag2", "attach-noticed"),
        (50500, "mag2", "PBU sent"),
        (55500, "lma", "PBU received"),
        (56050, "lma", "forwarding"),
        (56100, "lma", "PBA sent"),
        (61100, "mag2", "PBA received"),
        (61900, "mag2", "forwarding"),
        (65800, "mn", "first-packet"),
        (67800, "cn", "first-packet"),
    ]
    octets = {(node, packet): len(packet) for node in ("mag1", "mag2", "lma") for _, _, way, packet in run.frames[node]
              if way == 4 and packet[6] == 135}  # fmt: skip
    signalled = handover["bytes_signalled"]
    assert set(signalled) == {"PBU-dereg", "PBA", "PBU"}
    assert sum(signalled.values()) == sum(octets.values())
    assert signalled["PBU"] == next(size for (node, _), size in octets.items() if node == "mag2")


def test_twenty_handovers_are_alike_and_nothing_is_outside(measured: Measured) -> None:
    result = measured(made_run(20))
    assert [handover["index"] for handover in result["handovers"]] == list(range(20))
    assert [(one["from"], one["to"]) for one in result["handovers"][:3]] == [
        ("mag1", "mag2"),
        ("mag2", "mag1"),
        ("mag1", "mag2"),
    ]
    for handover in result["handovers"]:
        assert (handover["downlink"]["lost"], handover["downlink"]["gap_ms"]) == (13, 70.0)
        assert (handover["uplink"]["lost"], handover["uplink"]["lost_on_air"]) == (2, 10)
        assert handover["phase_t_us"] == MOMENTS_US
    assert result["outside_handovers"]["downlink"]["lost"] == 0
    assert result["totals"]["downlink"]["sent"] == 21 * 200


def test_loss_duplication_and_reordering_outside_handovers_is_not_ignored(measured: Measured) -> None:
    run = made_run()
    # Numbers far behind those of the run, sent half a second after the handover
    run.downlink(1001, 1600 * MS)  # lost
    run.downlink(1002, 1601 * MS, mag="mag2", crossed=1606 * MS, arrived=1607 * MS)
    run.downlink(1002, 0, mag="mag2", crossed=1608 * MS, arrived=1609 * MS)  # a second copy
    run.downlink(1004, 1602 * MS, mag="mag2", crossed=1610 * MS, arrived=1610 * MS)
    run.downlink(1003, 1602 * MS, mag="mag2", crossed=1611 * MS, arrived=1611 * MS)  # overtaken by 1004
    run.frames["mn"] = [
        frame
        for frame in run.frames["mn"]
        if not (frame[0] > 1700 * MS and frame[1] == ETH0 and frame[2] == 0)  # the MN hears nothing more
    ]
    run.frames["cn"] = [frame for frame in run.frames["cn"] if not (frame[0] > 1700 * MS and frame[2] == 4)]
    result = measured(run)
    outside = result["outside_handovers"]["downlink"]
    # What the run itself sent after 1610 ms has lower numbers than 1004, so each of those is reordered as well
    own = [t for t in range(500 * US, 2000 * MS, 5 * MS) if 1610 * MS < t + 5300 * US <= 1700 * MS]
    assert outside["duplicated"] == 1
    assert outside["reordered"] == 1 + len(own)
    in_flight_at_the_end = [t for t in range(500 * US, 1700 * MS, 5 * MS) if t + 5300 * US > 1700 * MS]
    assert outside["lost"] == 1 + len(in_flight_at_the_end)
    assert result["handovers"][0]["downlink"]["lost"] == 13


def test_a_duplicate_counts_once_for_each_further_copy_and_never_as_reordered(measured: Measured) -> None:
    run = made_run()
    for arrived in (1100 * MS, 1101 * MS):
        run.downlink(10, 0, mag="mag2", crossed=arrived - US, arrived=arrived)
    result = measured(run)
    # Packet 10 left at 45.5 ms: it belongs to no handover, though its copies came late.
    assert result["outside_handovers"]["downlink"]["duplicated"] == 2
    assert result["totals"]["downlink"]["reordered"] == 0


def test_downlink_lost_on_air_is_only_what_a_mag_sent_after_the_mn_had_left_it(measured: Measured) -> None:
    run = RunBuilder()
    MadeHandover("mag1", "mag2", 1000 * MS).add_to(run)
    run.downlink(1, 985 * MS, mag="mag1", crossed=991 * MS, arrived=992 * MS)
    run.downlink(2, 990 * MS, mag="mag1", crossed=999 * MS)  # before the detach: lost
    run.downlink(3, 994 * MS, mag="mag1", crossed=1000 * MS)  # at the detach: on the air
    run.downlink(4, 995 * MS, mag="mag1", crossed=1060 * MS)  # the MN is elsewhere by now: on the air
    run.downlink(5, 996 * MS, mag="mag2", crossed=1040 * MS)  # the nMAG sends too early: lost
    run.downlink(6, 997 * MS)  # reached no access link: lost
    run.downlink(7, 998 * MS, mag="mag1", crossed=1001 * MS, arrived=1002 * MS)  # it did arrive
    run.downlink(8, 1060 * MS, mag="mag2", crossed=1066 * MS, arrived=1067 * MS)
    run.downlink(9, 994 * MS, mag="mag1", offered=1000 * MS)  # mag1 does not know yet: on the air
    run.downlink(11, 995 * MS, mag="mag1", offered=1005 * MS)  # the MAG knew: lost
    run.downlink(10, 989 * MS, mag="mag1", offered=999 * MS)  # the link did not take it though the MN was there: lost
    run.uplink(1, 1070 * MS, mag="mag2", crossed=1071 * MS, arrived=1076 * MS)
    (handover,) = measured(run)["handovers"]
    assert faults(handover["downlink"]) == {**NO_FAULTS, "lost": 5, "lost_on_air": 3}


def test_uplink_lost_on_air_is_only_what_left_the_mn_while_no_mag_had_it(measured: Measured) -> None:
    run = RunBuilder()
    MadeHandover("mag1", "mag2", 1000 * MS).add_to(run)
    run.uplink(1, 990 * MS, mag="mag1", crossed=991 * MS, arrived=996 * MS)
    run.uplink(2, 999 * MS)  # the MN was attached, no MAG saw it: lost
    run.uplink(3, 1000 * MS)
    run.uplink(4, 1049 * MS)
    run.uplink(5, 1020 * MS, mag="mag1", crossed=1020 * MS)  # a MAG had it after all: lost
    run.uplink(6, 1050 * MS + 100 * US)  # the nMAG notices the MN at 1050.2 ms
    run.uplink(7, 1050 * MS + 200 * US)  # it has the MN: lost
    run.uplink(8, 1070 * MS, mag="mag2", crossed=1071 * MS, arrived=1076 * MS)
    run.downlink(1, 1070 * MS, mag="mag2", crossed=1075 * MS, arrived=1076 * MS)
    (handover,) = measured(run)["handovers"]
    assert faults(handover["uplink"]) == {**NO_FAULTS, "lost": 3, "lost_on_air": 3}


def test_moves_in_quick_succession_share_no_packet(measured: Measured) -> None:
    run = RunBuilder()
    handovers = [MadeHandover("mag1", "mag2", 1000 * MS), MadeHandover("mag2", "mag3", 1080 * MS)]
    for i, handover in enumerate(handovers):
        handover.add_to(run, sequence=2 * i + 1)
    add_traffic(run, handovers, 2000 * MS)
    first, second = measured(run)["handovers"]
    # The second window begins at 1080 - 25 ms, where the first one ends: 975.5 to 1050.5 ms
    assert first["downlink"]["sent"] == 16
    assert first["downlink"]["lost"] == 12
    assert second["downlink"]["gap_ms"] == 70.0
    assert [event["event"] for event in second["timeline"]].count("detached") == 1


def test_an_mn_never_served_again_is_silent_to_the_end(measured: Measured) -> None:
    run = RunBuilder()
    run.move("mn", "mag1", "mag2", 1000 * MS, 1050 * MS)
    for number, sent in enumerate(range(900 * MS, 2000 * MS, 10 * MS), 1):
        arrives = sent + 5 * MS < 1000 * MS
        if arrives:
            run.downlink(number, sent, mag="mag1", crossed=sent + 4 * MS, arrived=sent + 5 * MS)
        else:
            run.downlink(number, sent)
    (handover,) = measured(run)["handovers"]
    assert handover["downlink"]["served_again"] is False
    assert handover["downlink"]["gap_ms"] == 1990 - 995  # last arrival to last packet sent
    assert handover["downlink"]["lost"] == 100
    assert handover["processing_us"] == {}
    assert set(handover["phases_missing"]) == set("abcdefghijk")


def test_several_mns_have_windows_of_their_own(measured: Measured) -> None:
    run = RunBuilder(("mn", "mn2"))
    for mn, detach in (("mn", 1000 * MS), ("mn2", 1500 * MS)):
        handovers = [MadeHandover("mag1", "mag2", detach, mn)]
        handovers[0].add_to(run)
        add_traffic(run, handovers, 2500 * MS, mn=mn)
    result = measured(run)
    assert [(one["mn"], one["downlink"]["lost"], one["uplink"]["lost_on_air"]) for one in result["handovers"]] == [
        ("mn", 13, 10),
        ("mn2", 13, 10),
    ]
    sizes = [one["bytes_signalled"] for one in result["handovers"]]
    assert all(set(size) == {"PBU", "PBA", "PBU-dereg"} for size in sizes)
    assert len(result["handovers"][0]["timeline"]) == 16
    assert result["totals"]["downlink"]["sent"] == 1000
    assert result["outside_handovers"]["downlink"]["lost"] == 0


def test_control_datagrams_other_ports_and_wide_numbers(measured: Measured) -> None:
    run = RunBuilder()
    run.move("mn", "mag1", "mag2", 1000 * MS, 1050 * MS)
    own, cn = ADDRESS_OF_MN["mn"], ADDRESSES["cn"]
    connect = bytes.fromhex("9c40 1451 000c 0000 39383736")  # iperf3's first four octets, to port 5201
    run.frame("mn", 1 * MS, ETH0, ipv6(own, cn, 17, connect), outgoing=True)
    temporary = type(own)("2001:db8:1000::abcd:1234")  # RFC 8981
    for number in (1, 2, 3):
        packet = iperf3_packet("mn", "uplink", number, wide=True, source=temporary)
        run.frame("mn", number * 10 * MS, ETH0, packet, outgoing=True)
        run.frame("cn", number * 10 * MS + 5 * MS, CORE, packet, outgoing=False)
    foreign = iperf3_packet("mn", "uplink", 4)
    run.frame("mn", 50 * MS, ETH0, foreign[:42] + (9).to_bytes(2, "big") + foreign[44:], outgoing=True)
    last = iperf3_packet("mn", "uplink", 0x8000_0001)  # negative: the end
    run.frame("mn", 60 * MS, ETH0, last, outgoing=True)
    result = measured(run)
    assert result["totals"]["uplink"]["sent"] == 3
    assert result["totals"]["uplink"]["received"] == 3


def test_two_streams_on_one_port_are_refused(tmp_path: Path) -> None:
    run = made_run()
    packet = bytearray(iperf3_packet("mn", "downlink", 5000))
    packet[42:44] = (40001).to_bytes(2, "big")
    run.frame("cn", 1900 * MS, CORE, bytes(packet), outgoing=True)
    with pytest.raises(MeasurementError, match="more than one iperf3 stream on UDP port 5201"):
        measure(run.write(tmp_path / "run"))


def test_fragmented_test_packets_are_refused(tmp_path: Path) -> None:
    run = made_run()
    fragment = ipv6(ADDRESSES["cn"], ADDRESS_OF_MN["mn"], 44, bytes([17, 0, 0, 1, 0, 0, 0, 7]) + bytes(40))
    run.frame("cn", 1900 * MS, CORE, fragment, outgoing=True)
    with pytest.raises(MeasurementError, match="fragmented"):
        measure(run.write(tmp_path / "run"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "run.json: Input data was truncated"), (b"{}", "missing required field `spec`")],
)
def test_run_json_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(MeasurementError, match=message):
        measure(tmp_path)


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"run\.json: No such file"):
        measure(tmp_path)


def test_prefix_of_another_length_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HNP, "mn", "2001:db8:1000::/56")
    with pytest.raises(MeasurementError, match="is not a /64"):
        measure(made_run().write(tmp_path / "run"))
