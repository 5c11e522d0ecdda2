"""MNs with several prefixes, of the pools and of their own, and contexts of several messages, through handovers."""

import random
import time
from hashlib import sha256

import pytest

from testbed.lab.processor import one_processor
from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, eventually
from tests.netns.traffic import INTERVAL_S, Traffic

pytestmark = pytest.mark.netns

CONTEXT_OCTETS = 6000  # four messages
L2_S = 1.0  # contexts come first, on an emulated machine too


def test_all_prefixes_of_an_mn_move_together_and_a_long_context_with_them() -> None:
    spec = LabSpec(mns=2, scheme="context-reflector", prefixes=2, fixed=1, context_octets=CONTEXT_OCTETS)
    with one_processor(), SystemLab(spec) as lab:
        ids = {mn.name: mn.mn_id for mn in lab.topology.mns}
        for mn in ids:
            lab.settle(mn, "mag1")
        addresses = {mn: lab.addresses(mn) for mn in ids}
        prefixes = {ids[mn]: {address.network for address in of_mn} for mn, of_mn in addresses.items()}
        of_the_pool, own = prefixes.values()
        assert own == set(lab.topology.mns[1].fixed_prefixes(2))
        assert len(of_the_pool) == 2
        assert of_the_pool.isdisjoint(own)
        with Traffic(lab, {mn: of_mn[1].ip for mn, of_mn in addresses.items()}) as traffic:
            for mag in ("mag2", "mag1", "mag2"):
                traffic.until(time.monotonic() + 0.3)
                lab.network.air.detach(list(ids), {})
                traffic.off_air.update(ids)
                traffic.until(time.monotonic() + L2_S)
                lab.network.air.attach(dict.fromkeys(ids, mag))
                traffic.off_air.clear()
                while lab.serving() != dict.fromkeys(ids.values(), mag) or lab.show("lma", "contexts"):
                    traffic.until(time.monotonic() + INTERVAL_S)
                assert {each["mn_id"]: set(each["hnps"]) for each in lab.show("lma", "bindings")} == {
                    mn_id: set(map(str, networks)) for mn_id, networks in prefixes.items()
                }
                carried = {each["mn_id"]: each["opaque"] for each in lab.show(mag, "contexts")}
                assert carried == {mn_id: [as_shown(mn_id)] for mn_id in ids.values()}
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


def as_shown(mn_id: str) -> str:
    """What the MAG where the MN began had for it (testbed/lab/lab.py)."""
    octets = random.Random(mn_id).randbytes(CONTEXT_OCTETS)
    return f"0xff00 {CONTEXT_OCTETS} octets sha256 {sha256(octets).hexdigest()}"
