"""The lab's topology as data: what must hold for every size of it."""

import pytest

from testbed.lab.topology import AIR, HNP_POOL, LMAA, WIRE, Impairment, Topology, build

SIZES = [(1, 1), (2, 1), (4, 10), (20, 20)]


@pytest.mark.parametrize(("mags", "mns"), SIZES)
def test_every_interface_has_an_index_and_a_usable_name_of_its_own(mags: int, mns: int) -> None:
    ends = list(build(mags, mns).ends())
    assert len({end.index for end in ends}) == len(ends)  # the kernel's condition for carrier events without delay
    assert len({(end.node, end.interface) for end in ends}) == len(ends)
    assert all(len(end.interface) < 16 and end.interface not in ("br", "up") for end in ends)
    assert min(end.index for end in ends) >= 100  # the kernel's own devices come first


@pytest.mark.parametrize(("mags", "mns"), SIZES)
def test_each_mn_has_a_link_of_its_own_to_each_mag_and_is_nowhere_at_first(mags: int, mns: int) -> None:
    lab = build(mags, mns)
    for mn in lab.mns:
        ports = {lab.access_port(mn.name, mag) for mag in lab.mags}
        assert len(ports) == mags
        assert not any(port.up for port in ports)
        (bridge,) = [bridge for bridge in lab.bridges if mn.name in bridge.ports]
        assert set(bridge.ports) == {mn.name, *(port.interface for port in ports)}
    for mag in lab.mags:
        assert {end.interface for end in lab.ends_of(mag)} == {"core", *(mn.access_interface for mn in lab.mns)}


def test_one_mn_is_called_mn_and_several_have_numbers() -> None:
    assert [mn.name for mn in build(mns=1).mns] == ["mn"]
    assert [(mn.name, mn.mn_id, mn.mac) for mn in build(mns=300).mns][299] == (
        "mn300",
        "mn300@example.net",
        "02:00:00:00:01:2c",
    )


def test_a_mag_reaches_the_lma_and_the_other_mags_and_nothing_else() -> None:
    lab = build(mags=3)
    routes = {node.name: node.routes for node in lab.nodes}
    for mag in lab.mags:
        others = [lab.addresses[other] for other in lab.mags if other != mag]
        assert [route.split()[0] for route in routes[mag]] == [str(address) for address in (LMAA, *others)]
        assert all(route.endswith(f" src {lab.addresses[mag]}") for route in routes[mag])
    assert f"blackhole {HNP_POOL}" in routes["lma"]


def _delays(lab: Topology, node: str) -> dict[str, tuple[float, float]]:
    return {end.interface: (end.egress.delay_s, end.egress.signalling_delay_s) for end in lab.ends_of(node)}


def test_half_the_rtt_each_way_on_core_links_and_nowhere_else() -> None:
    lab = build(mags=2, rtt_s=0.010)
    assert _delays(lab, "lma") == {"inet": (0, 0), "mag1": (0.005, 0.005), "mag2": (0.005, 0.005)}
    assert _delays(lab, "mag1") == {"core": (0.005, 0.005), "acc-mn": (0, 0)}
    assert all(delays == (0, 0) for node in ("mn", "cn", "inet", AIR) for delays in _delays(lab, node).values())


def test_impaired_signalling_is_delayed_in_the_middle_of_the_wire_and_data_at_its_ends() -> None:
    lab = build(mags=1, rtt_s=0.010, impairment=Impairment.parse("loss=10%"))
    assert _delays(lab, "lma") == {"inet": (0, 0), "mag1": (0.005, 0)}
    assert _delays(lab, WIRE) == {"mag1-lma": (0, 0.005), "mag1-mag": (0, 0.005)}
    assert {end.egress.impairment for end in lab.ends_of(WIRE)} == {Impairment(loss=0.1)}


def test_impairment_is_read_in_percent() -> None:
    assert Impairment.parse("loss=10%,duplicate=5%, reorder=2.5%") == Impairment(0.1, 0.05, 0.025)
    assert Impairment.parse("reorder=5") == Impairment(reorder=0.05)


@pytest.mark.parametrize("text", ["", "loss", "loss=x", "loss=101%", "loss=-1%", "delay=1%", "loss=1%,loss=2%"])
def test_an_impossible_impairment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="impairment"):
        Impairment.parse(text)


def test_an_impossible_lab_is_refused() -> None:
    for mags, mns in ((0, 1), (255, 1), (1, 0), (1, 1000)):
        with pytest.raises(ValueError, match="MAGs"):
            build(mags, mns)
    with pytest.raises(ValueError, match="RTT"):
        build(rtt_s=0.0, impairment=Impairment(reorder=0.1))
