"""The pcap reader refuses what is not whole, and the measurement holds captures against iperf3's and ping's counts."""

import struct
from pathlib import Path
from typing import Any

import pytest

from testbed.measurement.measure import measure
from testbed.measurement.pcap import CaptureError, ipv6_frames
from tests.made_handover import made_run
from tests.run_builder import ADDRESS_OF_MN, ADDRESSES, CORE, ETH0, MS, RunBuilder, ipv6, write_pcap

PACKET = ipv6(ADDRESSES["cn"], ADDRESS_OF_MN["mn"], 59, b"")


@pytest.mark.parametrize("order", ["<", ">"])
def test_frames(tmp_path: Path, order: str) -> None:
    path = tmp_path / "x.pcap"
    write_pcap(path, [(1, 7, 4, PACKET), (1_999_999_999, 8, 0, PACKET + b"x"), (3, 8, 3, PACKET)], order=order)
    first, second = ipv6_frames(path)  # the third was somebody else's
    assert (first.t_ns % 10**9, first.interface, first.outgoing, first.packet) == (1, 7, True, PACKET)
    assert (second.t_ns - first.t_ns, second.interface, second.outgoing) == (1_999_999_998, 8, False)
    assert second.packet == PACKET + b"x"


def test_other_protocols_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    write_pcap(path, [(1, 7, 4, PACKET)])
    octets = bytearray(path.read_bytes())
    octets[40:42] = (0x0806).to_bytes(2, "big")
    path.write_bytes(octets)
    assert list(ipv6_frames(path)) == []


def damaged(octets: bytes, how: str) -> bytes:
    match how:
        case "short":
            return octets[:10]
        case "record":
            return octets[:30]
        case "frame":
            return octets[:-1]
        case "snapped":
            return octets[:36] + struct.pack("<I", 5000) + octets[40:]
        case "microseconds":
            return struct.pack("<I", 0xA1B2C3D4) + octets[4:]
        case _:
            return octets[:20] + struct.pack("<I", 1) + octets[24:]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("short", "no capture file header"),
        ("record", "ends inside a record"),
        ("frame", "a frame is not whole"),
        ("snapped", "a frame is not whole .* of 5000 octets"),
        ("microseconds", "not a pcap with nanoseconds"),
        ("ethernet", "link type 1, not LINUX_SLL2"),
    ],
)
def test_what_is_not_such_a_capture_is_refused(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "x.pcap"
    write_pcap(path, [(1, 7, 4, PACKET)])
    path.write_bytes(damaged(path.read_bytes(), how))
    with pytest.raises(CaptureError, match=message):
        list(ipv6_frames(path))


def test_a_capture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        list(ipv6_frames(tmp_path / "x.pcap"))


def iperf3(lost: int, out_of_order: int, packets: int) -> dict[str, Any]:
    """As `traffic.Stream` gives it."""
    return {"packets": packets, "lost_packets": lost, "out_of_order": out_of_order, "packets_sent": 400, "jitter_ms": 1}


def whole_run() -> RunBuilder:
    """One handover; what iperf3 and ping say agrees with it."""
    run = made_run()
    run.iperf3 = {"mn": {"downlink": iperf3(13, 0, 400), "uplink": iperf3(12, 0, 400)}}
    run.ping = {"mn": {"sent": 3, "received": 2}}  # the fourth is still on its way
    own, cn = ADDRESS_OF_MN["mn"], ADDRESSES["cn"]
    for identifier, sequences in ((5, (1, 2, 3, 4)), (6, (1,))):
        for sequence in sequences:
            request = struct.pack("!BBHHH", 128, 0, 0, identifier, sequence)
            run.frame("mn", sequence * 100 * MS, ETH0, ipv6(own, cn, 58, request), outgoing=True)
            if sequence in {1, 3}:
                reply = struct.pack("!BBHHH", 129, 0, 0, identifier, sequence)
                run.frame("mn", sequence * 101 * MS, ETH0, ipv6(cn, own, 58, reply), outgoing=False)
    return run


def test_captures_that_agree_with_iperf3_and_ping_are_whole(tmp_path: Path) -> None:
    result = measure(whole_run().write(tmp_path / "run"))
    assert result["captures"] == {"whole": True, "notes": []}
    counts = {"packets_sent": 400, "packets": 400, "lost_packets": 13, "out_of_order": 0}
    assert result["iperf3"]["downlink"] == {**counts, "captured": counts}
    assert result["ping"] == {"sent": 3, "received": 2, "captured": {"sent": 3, "received": 2}}


def test_iperf3_counts_a_duplicate_as_out_of_order_and_one_loss_less(tmp_path: Path) -> None:
    run = whole_run()
    run.downlink(10, 0, mag="mag2", crossed=1199 * MS, arrived=1200 * MS)
    run.iperf3["mn"]["downlink"] = iperf3(12, 1, 400)
    result = measure(run.write(tmp_path / "run"))
    assert result["captures"]["whole"] is True
    assert result["totals"]["downlink"]["lost"] == 13


def test_what_the_captures_miss_is_said(tmp_path: Path) -> None:
    run = whole_run()
    sent = [frame for frame in run.frames["cn"] if frame[2] == 4]
    run.frames["cn"].remove(sent[100])  # it arrived
    run.frames["cn"].remove(sent[199])  # it was lost
    run.frame("lma", 1, CORE, ipv6(ADDRESSES["mag1"], ADDRESSES["lma"], 135, bytes(8)), outgoing=False)
    run.ping = {"mn": {"sent": 3, "received": 3}}
    del run.iperf3["mn"]["uplink"]
    result = measure(run.write(tmp_path / "run"))
    assert result["captures"] == {
        "whole": False,
        "notes": [
            "mn downlink: iperf3 says packets_sent 400, the captures 398",
            "mn downlink: 1 packets arrived that were not captured leaving",
            "mn downlink: 1 packets iperf3 counted were never captured leaving nor arriving",
            "mn uplink: iperf3 reported no counts",
            "mn: ping says {'sent': 3, 'received': 3}, the captures {'sent': 3, 'received': 2}",
            "1 signalling packets could not be decoded",
        ],
    }
    assert result["totals"]["downlink"]["sent"] == 398


def test_a_run_without_test_packets_says_so(tmp_path: Path) -> None:
    run = RunBuilder()
    run.move("mn", "mag1", "mag2", 1000 * MS, 1050 * MS)
    result = measure(run.write(tmp_path / "run"))
    assert "mn downlink: no test packet was captured at the sender" in result["captures"]["notes"]
    assert result["handovers"][0]["downlink"]["gap_ms"] == 0
