"""MNs with several prefixes, of the pools and of their own, and contexts of several messages, through handovers."""

import random
import time
from hashlib import sha256

import pytest

from testbed.lab.processor import one_processor
from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, eventually, settled
from tests.netns.traffic import Traffic

pytestmark = pytest.mark.netns

CONTEXT_OCTETS, MESSAGES = 6000, 4


def test_all_prefixes_of_an_mn_move_together_and_a_long_context_with_them() -> None:
    spec = LabSpec(mns=2, scheme="context-reflector", prefixes=2, fixed=1, context_octets=CONTEXT_OCTETS)
    with one_processor(), SystemLab(spec) as lab:
        ids = {mn.name: mn.mn_id for mn in lab.topology.mns}
        for mn in ids:
            lab.settle(mn, "mag1")
        addresses = {mn: lab.addresses(mn) for mn in ids}
        prefixes = {ids[mn]: {address.network for address in of_mn} for mn, of_mn in addresses.items()}
        shown = {mn_id: [as_shown(mn_id)] for mn_id in ids.values()}
        of_the_pool, own = prefixes.values()
        assert own == set(lab.topology.mns[1].fixed_prefixes(2))
        assert len(of_the_pool) == 2
        assert of_the_pool.isdisjoint(own)
        with Traffic(lab, {mn: of_mn[1].ip for mn, of_mn in addresses.items()}) as traffic:
            for mag in ("mag2", "mag1", "mag2"):
                traffic.until(time.monotonic() + 0.3)
                move(lab, traffic, list(ids), mag)
                assert {each["mn_id"]: set(each["hnps"]) for each in lab.show("lma", "bindings")} == {
                    mn_id: set(map(str, networks)) for mn_id, networks in prefixes.items()
                }
                assert {each["mn_id"]: each["opaque"] for each in lab.show(mag, "contexts")} == shown
                assert lab.counters(mag)["context-expired"] == 0
            traffic.drain()
            reports = traffic.reports()
        for mn, of_mn in addresses.items():
            report = reports[f"downlink {mn}"]
            assert report["lost"] == report["duplicated"] == report["reordered"] == 0, reports
            assert lab.addresses(mn) == of_mn
            for address in of_mn:
                lab.run("cn", ["ping", "-c", "1", "-W", "5", str(address.ip)])
        eventually(lambda: not lab.show("mag1", "mobile-nodes"), "the former MAG still has an MN")


def move(lab: SystemLab, traffic: Traffic, mns: list[str], mag: str) -> None:
    """MNs go there, where their whole contexts come first."""

    def awaited() -> list[int]:
        return [len(each["parts"]) for each in lab.show(mag, "contexts") if each["state"] == "awaited"]

    lab.network.air.detach(mns, {})
    traffic.off_air.update(mns)
    traffic.wait_until(lambda: awaited() == [MESSAGES] * len(mns), f"contexts do not come to {mag}")
    where = dict.fromkeys(mns, mag)
    lab.network.air.attach(where)
    traffic.off_air.clear()
    traffic.wait_until(lambda: settled(lab, where), "a handover is still open")


def as_shown(mn_id: str) -> str:
    """What the MAG where the MN began had for it (testbed/lab/lab.py)."""
    octets = random.Random(mn_id).randbytes(CONTEXT_OCTETS)
    return f"0xff00 {CONTEXT_OCTETS} octets sha256 {sha256(octets).hexdigest()}"
