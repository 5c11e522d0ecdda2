"""More than two of everything."""

from ipaddress import IPv6Interface

import pytest

from testbed.lab.node import LabError
from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, eventually

pytestmark = pytest.mark.netns


def test_an_mn_visits_four_mags() -> None:
    with SystemLab(LabSpec(mags=4)) as lab:
        address = lab.settle("mn", "mag1")
        for mag in ("mag3", "mag2", "mag4", "mag1", "mag4"):
            assert lab.settle("mn", mag) == address
            others = [each for each in lab.topology.mags if each != mag]
            eventually(lambda others=others: not any(map(lab.states, others)), "a former MAG still has the MN")  # type: ignore[misc]
        used = {each["address"]: each["bindings"] for each in lab.show("lma", "mags")}
        assert used == {str(lab.topology.addresses[mag]): int(mag == "mag4") for mag in lab.topology.mags}


def test_ten_mns_move_at_the_same_moment() -> None:
    with SystemLab(LabSpec(mns=10)) as lab:
        mns = [mn.name for mn in lab.topology.mns]
        ids = [mn.mn_id for mn in lab.topology.mns]
        addresses: dict[str, IPv6Interface] = {}
        for mag in ("mag1", "mag2", "mag1"):
            lab.move_all(dict.fromkeys(mns, mag), 0.050)
            try:
                eventually(lambda mag=mag: lab.serving() == dict.fromkeys(ids, mag), f"not all are at {mag}")  # type: ignore[misc]
            except LabError as error:
                raise AssertionError(f"{error}: {lab.serving()}, {dict(lab.counters('lma'))}") from error
            now = {mn: lab.wait_for_service(mn) for mn in mns}
            assert addresses in ({}, now)
            addresses = now
        assert len({address.network for address in addresses.values()}) == 10
