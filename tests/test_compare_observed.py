"""What captures say of packets on their way: paths, who keeps and who diverts them, what that costs."""

import csv
from pathlib import Path

import pytest

from testbed.compare.document import Association, Observed
from testbed.compare.observed import observed_of, write_packets
from tests.made_handover import ACCESS_HOP, CORE_HOP, ONE_WAY, US, MadeHandover
from tests.run_builder import ADDRESSES, CORE, ETH0, INTERFACES, MS, RunBuilder, iperf3_packet, ipv6

ACCESS = 21
DETACH = 1000 * MS
NODE_US = 20  # what a node takes to forward
KEPT = 40 * MS


def _tunnelled(packet: bytes, source: str, destination: str) -> bytes:
    return ipv6(ADDRESSES[source], ADDRESSES[destination], 41, packet)


class _Way:
    """A downlink packet on its way from node to node; frames as captures show them, behind a link's delay."""

    def __init__(self, run: RunBuilder, number: int, sent: int) -> None:
        self._run, self._number, self._packet = run, number, iperf3_packet("mn", "downlink", number)
        run.frame("cn", sent, CORE, self._packet, outgoing=True)
        self.now = sent + CORE_HOP
        run.frame("lma", self.now, CORE, self._packet, outgoing=False)

    def core(self, here: str, there: str, kept: int = 0) -> "_Way":
        self.now += NODE_US * US + kept + ONE_WAY
        tunnelled = _tunnelled(self._packet, here, there)
        interface = {"lma": 3}.get(here, CORE)
        self._run.frame(here, self.now - US, interface, tunnelled, outgoing=True)
        self._run.frame(there, self.now, {"lma": 3}.get(there, CORE), tunnelled, outgoing=False)
        return self

    def through(self, here: str, router: str, there: str, kept: int) -> "_Way":
        tunnelled = _tunnelled(self._packet, here, there)
        for node, outgoing, later in (
            (here, True, NODE_US * US + kept),
            (router, False, ONE_WAY),
            (router, True, NODE_US * US),
            (there, False, ONE_WAY),
        ):
            self.now += later
            self._run.frame(node, self.now, CORE if node != "lma" else 3, tunnelled, outgoing=outgoing)
        return self

    def access(self, mag: str) -> None:
        self.now += NODE_US * US
        self._run.frame(mag, self.now, ACCESS, self._packet, outgoing=True)
        self._run.frame("mn", self.now + ACCESS_HOP, ETH0, self._packet, outgoing=False)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packets each 5 ms; of those in the handover the first comes back from the pMAG, the next is kept by the LMA,
    one is lost, and one goes from the pMAG to the nMAG in a tunnel that the LMA only routes."""
    monkeypatch.setitem(INTERFACES["lma"], 3, "mag1")
    run = RunBuilder()
    handover = MadeHandover("mag1", "mag2", DETACH)
    handover.add_to(run)
    for number, sent in enumerate(range(0, 2000 * MS, 5 * MS), 1):
        way = _Way(run, number, sent)
        if way.now + ONE_WAY < DETACH:
            way.core("lma", "mag1").access("mag1")
        elif number == 200:
            way.core("lma", "mag1").core("mag1", "lma").core("lma", "mag2", KEPT).access("mag2")
        elif number == 201:
            way.core("lma", "mag2", KEPT + 10 * MS).access("mag2")
        elif number == 203:
            way.core("lma", "mag1").through("mag1", "lma", "mag2", KEPT).access("mag2")
        elif sent > DETACH + 60 * MS:
            way.core("lma", "mag2").access("mag2")
    return run.write(tmp_path / "run")


@pytest.fixture
def observed(directory: Path) -> Observed:
    return observed_of(directory)


def test_who_signals_with_whom(observed: Observed) -> None:
    assert [(one.nodes, one.messages) for one in observed.associations] == [(("lma", "nmag"), 2), (("lma", "pmag"), 2)]
    assert all(isinstance(one, Association) and one.octets > 0 for one in observed.associations)
    assert observed.messages is not None
    assert observed.messages.mean == 4


def test_who_keeps_packets_and_who_diverts_them(observed: Observed) -> None:
    held = {one.node: one for one in observed.held}
    assert {node: one.packets for node, one in held.items()} == {"lma": 2, "pmag": 1}
    assert held["lma"].longest_us == pytest.approx((KEPT + 10 * MS) / 1000, abs=2 * NODE_US)
    assert [(one.node, one.packets) for one in observed.redirected] == [("lma", 1), ("pmag", 2)]


def test_ways_and_what_they_cost(observed: Observed) -> None:
    ways = {way.path: way for way in observed.paths}
    detour = ways["cn", "lma", "pmag", "lma", "nmag", "mn"]
    assert (detour.packets, detour.usual) == (2, False)
    assert ways["cn", "lma", "nmag", "mn"].usual
    extra = observed.extra["downlink"]
    assert extra.hops is not None
    assert extra.hops.max == 2
    assert extra.core_octets is not None
    assert extra.core_octets.max == 2 * len(_tunnelled(iperf3_packet("mn", "downlink", 1), "lma", "mag1"))


def test_every_packet_has_a_line(directory: Path, tmp_path: Path) -> None:
    write_packets(directory, tmp_path / "packets.csv")
    with (tmp_path / "packets.csv").open() as file:
        lines = {int(line["sequence"]): line for line in csv.DictReader(file)}
    assert len(lines) == 400
    assert lines[200]["path"] == "cn>lma>mag1>lma>mag2>mn"
    assert (lines[202]["fate"], lines[202]["delay_us"], lines[202]["copies"]) == ("lost", "", "0")
    assert float(lines[201]["sent_us"]) == 0.0
    assert (lines[1]["within"], lines[201]["within"]) == ("0", "1")


@pytest.mark.parametrize("later", [-10 * US, 10 * US])
def test_a_packet_sent_while_the_first_is_on_its_way_through_the_core_is_none_of_the_handovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    """A capture shows the first packet behind the core's delay, which here ends when the next packet is sent."""
    monkeypatch.setitem(INTERFACES["lma"], 3, "mag1")
    run = RunBuilder()
    MadeHandover("mag1", "mag2", DETACH).add_to(run)
    first = DETACH + 70 * MS
    for number, sent in enumerate(range(0, DETACH, 5 * MS), 1):
        _send_up(run, number, sent, "mag1")
    _send_up(run, 201, first, "mag2")
    for number, sent in enumerate(range(first + ACCESS_HOP + NODE_US * US + ONE_WAY + later, 2000 * MS, 5 * MS), 202):
        _send_up(run, number, sent, "mag2")
    ways = {way.path: way.packets for way in observed_of(run.write(tmp_path / "run")).paths}
    assert ways["mn", "nmag", "lma", "cn"] == 1


def _send_up(run: RunBuilder, number: int, sent: int, mag: str) -> None:
    packet = iperf3_packet("mn", "uplink", number)
    tunnelled = _tunnelled(packet, mag, "lma")
    at_mag = sent + ACCESS_HOP
    at_lma = at_mag + NODE_US * US + ONE_WAY
    run.frame("mn", sent, ETH0, packet, outgoing=True)
    run.frame(mag, at_mag, ACCESS, packet, outgoing=False)
    run.frame(mag, at_lma, CORE, tunnelled, outgoing=True)
    run.frame("lma", at_lma, 3, tunnelled, outgoing=False)
    run.frame("lma", at_lma + NODE_US * US, CORE, packet, outgoing=True)
    run.frame("cn", at_lma + NODE_US * US + CORE_HOP, CORE, packet, outgoing=False)
