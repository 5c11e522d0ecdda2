"""What TCP sent again, and why: every cause, on captures made up so that it is known."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

import testbed
from testbed.__main__ import handover
from testbed.measurement.summary import render
from testbed.run.traffic import Load
from testbed.tcp.stream import TcpLoad
from tests.made_tcp import CONTROL_CLIENT, OCTETS, WINDOW_END, MadeTcp

SCHEMA = json.loads((Path(testbed.__file__).parent / "handover.schema.json").read_text())


def lost_by_the_network(tcp: MadeTcp) -> None:
    tcp.segment(0, 990)
    tcp.segment(0, 1060, arrived=1067)


def came_to_the_pmag_and_no_further(tcp: MadeTcp) -> None:
    """Downlink: it left on the access link while the MN was still there. Uplink: a MAG heard it."""
    tcp.segment(0, 990, mag="mag1", crossed=995)
    tcp.segment(0, 1060, arrived=1067)


def overtaken(tcp: MadeTcp) -> None:
    tcp.segment(0, 990, arrived=1055)
    tcp.segment(1, 992, arrived=1053)
    tcp.segment(0, 1060, arrived=1067)


def duplicated(tcp: MadeTcp) -> None:
    tcp.segment(0, 990, arrived=995, copy=996)
    tcp.segment(1, 991, arrived=997)
    tcp.segment(1, 1060, arrived=1067)
    tcp.segment(0, 1061, arrived=1068)


def acknowledgement_lost_by_the_network(tcp: MadeTcp) -> None:
    tcp.segment(0, 990, arrived=995)
    tcp.ack(1, 995)
    tcp.segment(0, 1060, arrived=1067)


def acknowledgement_duplicated(tcp: MadeTcp) -> None:
    tcp.segment(0, 990, arrived=995)
    tcp.ack(1, 995, arrived=1000, copy=1001)
    tcp.segment(0, 1060, arrived=1067)


def held_until_it_was_sent_again(tcp: MadeTcp) -> None:
    tcp.segment(0, 1010, arrived=1300)
    tcp.segment(0, 1250, arrived=1301)


def probe_right_before_the_acknowledgement(tcp: MadeTcp) -> None:
    tcp.segment(0, 990, arrived=995)
    tcp.ack(1, 1029, arrived=1034)
    tcp.segment(0, 1030, arrived=1035)


def acknowledgement_of_what_is_before_it_lost(tcp: MadeTcp) -> None:
    tcp.segment(0, 985, arrived=990)
    tcp.ack(1, 990)
    tcp.segment(1, 990, arrived=995)
    tcp.segment(1, 1060, arrived=1067)


@pytest.mark.parametrize("direction", ["downlink", "uplink"])
@pytest.mark.parametrize(
    ("make", "causes"),
    [
        (lost_by_the_network, {"by_network": 1}),
        (came_to_the_pmag_and_no_further, {"by_network": 1}),
        (overtaken, {"by_network": 1}),
        (duplicated, {"by_network": 1, "spurious": 1}),
        (acknowledgement_lost_by_the_network, {"by_network": 1}),
        (acknowledgement_duplicated, {"by_network": 1}),
        (held_until_it_was_sent_again, {"spurious": 1}),
        (probe_right_before_the_acknowledgement, {"spurious": 1}),
        (acknowledgement_of_what_is_before_it_lost, {"spurious": 1}),
    ],
)
def test_cause(tmp_path: Path, direction: str, make: Callable[[MadeTcp], None], causes: dict[str, int]) -> None:
    tcp = MadeTcp(direction)
    make(tcp)
    assert tcp.again(tmp_path) == causes


def test_uplink_into_the_dead_link(tmp_path: Path) -> None:
    tcp = MadeTcp("uplink")
    tcp.segment(0, 1010)
    tcp.segment(1, 1020)
    tcp.segment(0, 1030)
    tcp.segment(1, 1060, mag="mag2", crossed=1061)
    tcp.segment(1, 1070, mag="mag2", crossed=1071, arrived=1077)
    tcp.segment(0, 1071, mag="mag2", crossed=1072, arrived=1078)
    assert tcp.again(tmp_path) == {"lost_on_air": 3, "by_network": 1}  # as the sending before went


def test_downlink_onto_the_link_that_the_mn_has_left(tmp_path: Path) -> None:
    tcp = MadeTcp("downlink")
    tcp.segment(0, 996, mag="mag1", crossed=1001)
    tcp.segment(0, 1060, mag="mag2", crossed=1065, arrived=1066)
    assert tcp.again(tmp_path) == {"lost_on_air": 1}


def test_downlink_given_to_the_dead_link_before_it_was_noticed(tmp_path: Path) -> None:
    tcp = MadeTcp("downlink")
    tcp.run.note("mag1", 1_002_000_000, "detached")
    tcp.segment(0, 996, mag="mag1", offered=1001)
    tcp.segment(1, 998, mag="mag1", offered=1003)
    tcp.segment(0, 1060, mag="mag2", crossed=1065, arrived=1066)
    tcp.segment(1, 1061, mag="mag2", crossed=1066, arrived=1067)
    assert tcp.again(tmp_path) == {"lost_on_air": 1, "by_network": 1}


def test_acknowledgement_into_the_dead_link(tmp_path: Path) -> None:
    tcp = MadeTcp("downlink")
    tcp.segment(0, 994, arrived=999)
    tcp.ack(1, 1001)
    tcp.segment(0, 1060, arrived=1067)
    assert tcp.again(tmp_path) == {"lost_on_air": 1}


@pytest.mark.parametrize(("reported", "causes"), [(False, {"by_network": 1}), (True, {"spurious": 1})])
def test_lost_word_of_what_is_there_behind_a_gap(tmp_path: Path, reported: bool, causes: dict[str, int]) -> None:
    tcp = MadeTcp("downlink")
    tcp.segment(0, 1100, arrived=1390)
    tcp.segment(1, 1101, arrived=1106)
    tcp.ack(0, 1106, block=(1, 2), arrived=1111 if reported else 0)
    tcp.segment(1, 1302, arrived=1307)
    assert tcp.again(tmp_path) == causes


def test_what_is_sent_again_may_be_cut_otherwise(tmp_path: Path) -> None:
    """Of two pieces one was lost by the network and one arrived: it is the network's. What is new is not sent again."""
    tcp = MadeTcp("downlink")
    tcp.segment(0, 990, arrived=995)
    tcp.segment(1, 991)
    tcp.segment(0, 1060, octets=2 * OCTETS, arrived=1067)
    tcp.segment(0.5, 1061, octets=OCTETS // 2, arrived=1068)
    tcp.segment(2, 1062, arrived=1069)
    tcp.segment(3, 1063, arrived=1070)
    result = tcp.measured(tmp_path)
    assert result["handovers"][0]["tcp"]["downlink"]["retransmitted"] == {
        "all": 2,
        "by_network": 1,
        "lost_on_air": 0,
        "spurious": 1,
    }


def test_it_belongs_to_the_handover_in_which_its_data_was_first_sent(tmp_path: Path) -> None:
    tcp = MadeTcp("downlink")
    tcp.segment(0, 500)
    tcp.segment(0, 990, arrived=995)
    tcp.segment(1, 1100)
    tcp.segment(2, WINDOW_END + 1)
    tcp.segment(1, WINDOW_END + 100, arrived=1300)
    tcp.segment(2, WINDOW_END + 101)
    tcp.segment(2, WINDOW_END + 300, arrived=1500)
    result = tcp.measured(tmp_path)
    again = [
        one["downlink"]["retransmitted"]["by_network"]
        for one in (result["handovers"][0]["tcp"], result["tcp"]["outside_handovers"], result["tcp"]["totals"])
    ]
    assert again == [1, 3, 4]
    assert result["tcp"]["totals"]["downlink"]["sent"] == 7
    jsonschema.validate(result, SCHEMA)


def test_same_acknowledgement_twice_in_a_millisecond(tmp_path: Path) -> None:
    """Both arrive, so neither is a duplicate and neither is lost."""
    tcp = MadeTcp("downlink")
    tcp.segment(0, 990, arrived=995)
    for microseconds in (0.1, 0.2):
        tcp.ack(1, 996 + microseconds, arrived=1002 + microseconds)
    tcp.segment(0, 1000, arrived=1005)
    assert tcp.again(tmp_path) == {"spurious": 1}


def test_segments_merged_on_their_way(tmp_path: Path) -> None:
    """Two arrive as one frame, which none of them is; a third one that claims to be more than was sent is nobody's."""
    tcp = MadeTcp("uplink")
    tcp.segment(0, 1060, mag="mag2", crossed=1061)
    tcp.segment(1, 1060, mag="mag2", crossed=1061)
    tcp.segment(2, 1060.1, octets=OCTETS // 2, mag="mag2", crossed=1061, arrived=1068)
    tcp.seen(0, 1060, arrived=1068, octets=2 * OCTETS, push=True)
    counts = tcp.measured(tmp_path / "merged")["tcp"]["totals"]["uplink"]
    assert [counts[key] for key in ("sent", "received", "duplicated", "lost")] == [3, 3, 0, 0]
    tcp.seen(2, 1060.1, arrived=1069, octets=OCTETS)
    notes = tcp.measured(tmp_path / "more")["captures"]["notes"]
    assert "mn uplink: 1 TCP packets were captured on their way, but not leaving" in notes


def test_segments_cut_on_their_way_are_not_guessed_at(tmp_path: Path) -> None:
    tcp = MadeTcp("uplink")
    tcp.segment(0, 1060, octets=2 * OCTETS)
    tcp.seen(0, 1060, arrived=1068, octets=OCTETS)
    result = tcp.measured(tmp_path)
    assert result["tcp"]["totals"]["uplink"]["received"] == 0
    assert "mn uplink: 1 TCP packets were captured on their way, but not leaving" in result["captures"]["notes"]


def test_iperf3_is_heard_too(tmp_path: Path) -> None:
    tcp = MadeTcp("downlink")
    tcp.segment(0, 100, octets=40, client=CONTROL_CLIENT, arrived=105)
    tcp.segment(0, 200, octets=40, client=CONTROL_CLIENT, arrived=205)  # of the control connection: not counted
    tcp.segment(0, 990)
    tcp.segment(0, 1060, arrived=1067)
    tcp.run.tcp = {"mn": {"downlink": {"retransmits": 1}, "uplink": {"retransmits": 0}}}
    result = tcp.measured(tmp_path)
    assert result["tcp"]["iperf3"]["downlink"] == {"retransmits": 1, "captured": {"retransmits": 1}}
    assert not [note for note in result["captures"]["notes"] if "retransmits" in note]
    jsonschema.validate(result, SCHEMA)


def test_disagreement_is_said(tmp_path: Path) -> None:
    tcp = MadeTcp("downlink")
    tcp.segment(0, 990)
    tcp.segment(0, 1060, arrived=1067)
    tcp.run.frames["cn"] = [frame for frame in tcp.run.frames["cn"] if frame[0] < 1_000_000_000]
    tcp.run.tcp = {"mn": {"downlink": {"retransmits": 1}}}
    notes = tcp.measured(tmp_path)["captures"]["notes"]
    assert "mn downlink: iperf3 says retransmits 1, the captures 0" in notes
    assert "mn downlink: 1 TCP packets were captured on their way, but not leaving" in notes
    assert "mn uplink: iperf3 reported no retransmits by TCP" in notes


def test_what_a_person_reads(tmp_path: Path) -> None:
    tcp = MadeTcp("uplink")
    tcp.segment(0, 1010)
    tcp.segment(0, 1060, arrived=1067)
    tcp.segment(1, 1300)
    tcp.segment(1, 1500, arrived=1507)
    tcp.run.tcp = {"mn": {"downlink": {"retransmits": 0}, "uplink": {"retransmits": 2}}}
    lines = [line.split() for line in render(tcp.measured(tmp_path)).splitlines()]
    nothing = ["0"] * 5
    assert ["0", "mn", *nothing, "2", "1", "0", "1", "0"] in lines
    assert ["outside", *nothing, "2", "1", "1", "0", "0"] in lines
    assert ["all", *nothing, "4", "2", "1", "1", "0"] in lines
    assert ["iperf3", "by", "TCP:", "downlink", "0", "retransmits,", "uplink", "2", "retransmits"] in lines


def test_a_segment_each_interval() -> None:
    assert TcpLoad(4).interval_ns == 2_500_000
    assert TcpLoad(3).interval_ns == 3_333_000
    assert "--udp" in Load(200, 200).options
    assert "--udp" not in TcpLoad(4).options


@pytest.mark.parametrize(("words", "mbps"), [([], None), (["--tcp"], 4.0), (["--tcp", "2.5"], 2.5)])
def test_the_rate_may_be_left_out(words: list[str], mbps: float | None) -> None:
    context = handover.make_context("handover", [*words, "--scheme", "pmipv6"])
    assert context.params["tcp_mbps"] == mbps
