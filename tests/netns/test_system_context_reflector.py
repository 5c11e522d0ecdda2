"""Context Reflector at its edges with real daemons, kernels and packets; the cores' tests have all of them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from ipaddress import IPv6Address

import pytest

from testbed.lab.processor import one_processor
from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, eventually, settled
from tests.netns.test_system_kills import installed, wanted
from tests.netns.traffic import Traffic

pytestmark = pytest.mark.netns

NODES = ("lma", "mag1", "mag2", "mag3")
CONTEXT_LIFETIME_S = 5.0
SECTION = "[context_reflector]\n"
REFLECTIONS = "table ip6 deaf { chain in { type filter hook input priority 0; meta l4proto 135 @th,16,8 11 drop; }; }"


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    shorter = [(SECTION, f"{SECTION}context_lifetime = {CONTEXT_LIFETIME_S}\n")]
    spec = LabSpec(mags=3, scheme="context-reflector")
    with one_processor(), SystemLab(spec, dict.fromkeys(NODES, shorter)) as up:
        yield up


@pytest.fixture
def address(lab: SystemLab) -> IPv6Address:
    """The MN is at mag1, and nothing of its earlier moves is open."""
    found = lab.settle("mn", "mag1")
    eventually(lambda: settled(lab, {"mn": "mag1"}), "a handover is still open")
    return found


@contextmanager
def deaf_to_contexts(lab: SystemLab, mag: str) -> Iterator[None]:
    before = lab.counters(mag)["received-CR"]
    lab.nodes[mag].run(["nft", "-f", "-"], REFLECTIONS)
    try:
        yield
    finally:
        lab.nodes[mag].run(["nft", "delete", "table", "ip6", "deaf"])
    assert lab.counters(mag)["received-CR"] == before


@pytest.mark.parametrize(
    ("announced", "comes_to", "l2_s", "unheard"),
    [
        ("mag2", "mag2", 0.05, False),
        ("mag2", "mag3", 0.05, False),  # another MAG than predicted
        ("mag2", "mag1", 0.05, False),  # it comes back instead
        (None, "mag1", None, False),  # ping-pong, when the LMA knows of it (docs/protocol.md)
        (None, "mag2", 0.0, False),  # faster than any word of it
        ("mag2", "mag2", 0.05, True),  # the context is lost
    ],
)
def test_no_packet_is_lost(
    lab: SystemLab, address: IPv6Address, *, announced: str | None, comes_to: str, l2_s: float | None, unheard: bool
) -> None:
    def anchor_knows() -> bool:
        return bool(lab.show("lma", "contexts"))

    with Traffic(lab, {"mn": address}) as traffic, deaf_to_contexts(lab, comes_to) if unheard else nullcontext():
        traffic.until(time.monotonic() + 0.2)
        if announced:
            nmag = str(lab.topology.addresses[announced])
            lab.command("mag1", "handover", mn_id=lab.topology.mn("mn").mn_id, nmag=nmag)
            traffic.wait_until(anchor_knows, "the LMA has not heard of the announcement")
        lab.network.air.detach(["mn"], {})
        traffic.off_air.add("mn")
        if l2_s is None:
            traffic.wait_until(anchor_knows, "the LMA has not heard that the MN left")
        else:
            traffic.until(time.monotonic() + l2_s)
        lab.network.air.attach({"mn": comes_to})
        traffic.off_air.clear()
        traffic.wait_until(lambda: settled(lab, {"mn": comes_to}), "a handover is still open")
        traffic.drain()
        reports = traffic.reports()
    for report in reports.values():
        assert report["lost"] == report["duplicated"] == report["reordered"] == 0, reports
    for node in NODES:
        eventually(lambda node=node: installed(lab, node) == wanted(lab, node), f"{node} has not what it wants")  # type: ignore[misc]


def test_a_context_that_nobody_comes_for_leaves_nothing_but_a_count(lab: SystemLab, address: IPv6Address) -> None:
    before = lab.counters("lma")
    with Traffic(lab, {"mn": address}) as traffic:
        lab.network.air.detach(["mn"], {})
        traffic.off_air.add("mn")
        traffic.wait_until(lambda: not lab.show("lma", "bindings"), "the binding does not end")
        traffic.drain()
        lost = traffic.reports()["downlink mn"]["lost"]
    after = lab.counters("lma")
    assert after["context-binding-expired"] == before["context-binding-expired"] + 1
    expired = after["kernel-dropped-hold-expired"] - before["kernel-dropped-hold-expired"]
    assert lost >= expired > 0.8 * lost > 0  # the others came when there was no binding any more
    assert lab.show("lma", "holds") == []
    for node in NODES:
        eventually(lambda node=node: not installed(lab, node), f"{node} keeps something of the MN")  # type: ignore[misc]
    assert lab.settle("mn", "mag3") == address
