"""Daemons that are ended, killed, started again, or cannot start: what stays behind, and what they say."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from common.dataplane.router import MAG_MAC
from testbed.lab.node import LabError
from testbed.lab.topology import LMAA
from testbed.lab.visit import LabSpec
from tests.netns.system import BUDGETS, SystemLab, differences, eventually, flush, traces

pytestmark = pytest.mark.netns

MN_ID = "mn1@example.net"
DAEMONS = ("lma", "mag1", "mag2")


def off_the_air(lab: SystemLab) -> None:
    """All MNs leave, so that links and carriers are as they were at first."""
    lab.network.air.detach([mn.name for mn in lab.topology.mns], {})


def test_sigterm_leaves_no_trace() -> None:
    with SystemLab(traced=True) as lab:
        for mag in ("mag1", "mag2"):
            lab.settle("mn", mag)
        off_the_air(lab)
        eventually(lambda: not lab.serving(), "the LMA has not heard that the MN left")
        with_daemons = {node: differences(lab.before[node], traces(lab.nodes[node])) for node in DAEMONS}
        for node in DAEMONS:
            assert with_daemons[node]  # else this test would see nothing
            assert lab.end(node) == 0
            assert differences(lab.before[node], traces(lab.nodes[node])) == {}
            assert not lab.control_socket(node).exists()


def test_an_access_link_with_a_carrier_gets_its_own_addresses_back() -> None:
    """Its MAC, and the link-local address that the kernel had made of it."""
    with SystemLab() as lab:
        lab.end("mag1")
        lab.air_only("mn", "mag1")
        show = ["ip", "-6", "address", "show", "dev", "acc-mn", "-tentative"]
        eventually(lambda: "fe80::" in lab.nodes["mag1"].run(show), "the kernel makes no address")
        before = traces(lab.nodes["mag1"])
        lab.start("mag1")
        lab.wait_for_service("mn")
        assert lab.end("mag1") == 0
        eventually(lambda: "fe80::" in lab.nodes["mag1"].run(show), "the address has not come back")
        assert differences(before, traces(lab.nodes["mag1"])) == {}


@pytest.mark.parametrize("node", DAEMONS)
def test_sigterm_in_the_middle_of_service_leaves_no_trace(node: str) -> None:
    """The MN is there and stays there: its carrier is the only difference."""
    with SystemLab(traced=True) as lab:
        lab.settle("mn", "mag1")
        assert lab.end(node) == 0
        left = " ".join(
            line for lines in differences(lab.before[node], traces(lab.nodes[node])).values() for line in lines
        )
        for ours in ("pml", "pmg", "5213", "proto 21", "2001:db8:1000::/64", "context_reflector", MAG_MAC):
            assert ours not in left


@pytest.mark.parametrize("mag", ["mag1", "mag2"])
def test_a_killed_mag_finds_its_mn_again(mag: str) -> None:
    with SystemLab() as lab:
        address = lab.settle("mn", "mag1")
        assert lab.end(mag, SIGKILL) == -SIGKILL
        lab.nodes[mag].run(["ip", "-6", "route", "add", "2001:db8:1fff::/64", "dev", "core", "proto", "214"])
        lab.nodes[mag].run(
            ["ip", "-6", "rule", "add", "from", "2001:db8:1fff::/64", "table", "5213", "protocol", "214"]
        )
        lab.nodes[mag].run(
            ["ip", "link", "add", "pmg0123456789ab", "type", "ip6tnl", "remote", "2001:db8::1", "local", "::"]
        )
        lab.start(mag)
        assert "1fff" not in lab.nodes[mag].run(["ip", "-6", "route", "show", "table", "all"])
        assert "1fff" not in lab.nodes[mag].run(["ip", "-6", "rule"])
        assert "pmg0123456789ab" not in lab.nodes[mag].run(["ip", "link"])
        if mag == "mag1":
            eventually(lambda: lab.states("mag1") == {MN_ID: "registered"}, "mag1 has not registered the MN again")
        assert lab.wait_for_service("mn").ip == address
        assert lab.settle("mn", "mag2") == address


def test_a_killed_lma_hears_of_its_sessions_again() -> None:
    """RFC 5847: it says that it has lost them, and the MAG registers them anew under the prefixes that they had."""
    with SystemLab(LabSpec(mns=2)) as lab:
        addresses = {mn: lab.settle(mn, "mag1") for mn in ("mn1", "mn2")}
        restarts = lab.counters("mag1")["peer-restarted"]  # at the very start nobody can know what was before
        assert lab.end("lma", SIGKILL) == -SIGKILL
        lab.nodes["lma"].run(
            ["ip", "-6", "route", "add", "2001:db8:1fff::/64", "via", "2001:db8:ee::1", "proto", "213"]
        )
        lab.start("lma")
        both = {lab.topology.mn(mn).mn_id: "mag1" for mn in addresses}
        eventually(lambda: lab.serving() == both, "the MAG does not register its MNs again")
        assert lab.counters("mag1")["peer-restarted"] == restarts + 1
        for mn, address in addresses.items():
            assert lab.wait_for_service(mn).ip == address
        routes = lab.nodes["lma"].run(["ip", "-6", "route", "show", "proto", "213"])
        assert any(route.startswith("blackhole 2001:db8:1000::/36 ") for route in routes.split("\n"))
        assert "1fff" not in routes
        for mn, address in addresses.items():
            assert lab.settle(mn, "mag2") == address


def test_what_the_operator_revokes_ends_at_both_ends() -> None:
    with SystemLab(LabSpec(mns=2)) as lab:
        for mn in ("mn1", "mn2"):
            lab.settle(mn, "mag1")
        assert lab.command("lma", "revoke", mn_id=MN_ID) == {"sessions": 1}
        eventually(lambda: MN_ID not in lab.serving(), "the session goes on")
        assert lab.states("mag1")[MN_ID] == "refused"
        assert lab.command("lma", "revoke", mag=str(lab.topology.addresses["mag1"])) == {"sessions": 1}
        eventually(lambda: lab.show("lma", "bindings") == [], "a session goes on")
        [row] = [each for each in lab.show("lma", "mags") if each["address"] == str(lab.topology.addresses["mag1"])]
        assert row["bindings"] == 0
        routes = lab.nodes["lma"].run(["ip", "-6", "route", "show", "proto", "213"])
        assert routes.splitlines() == [line for line in routes.splitlines() if line.startswith("blackhole")]
        lab.settle("mn1", "mag2")  # it may come again


def tunnel(lab: SystemLab, node: str, peer: str) -> str:
    """The device of that node's tunnel to `peer`."""
    links = json.loads(lab.nodes[node].run(["ip", "-j", "-d", "link", "show", "type", "ip6tnl"]))
    remote = str(lab.topology.addresses[peer])
    return str(next(link["ifname"] for link in links if link["linkinfo"]["info_data"]["remote"] == remote))


@contextmanager
def stopped(lab: SystemLab, node: str) -> Iterator[None]:
    """The daemon of that node does not run meanwhile."""
    lab.daemons[node].signal(SIGSTOP)
    try:
        yield
    finally:
        lab.daemons[node].signal(SIGCONT)


def served(lab: SystemLab) -> IPv6Address | None:
    """The MN's address, if it reaches its correspondent: `ping` gives up at the first error that it hears of."""
    try:
        return lab.wait_for_service("mn", 5.0).ip
    except LabError:
        return None


@pytest.mark.parametrize(("node", "peer"), [("lma", "mag1"), ("mag1", "lma")])
def test_a_tunnel_that_somebody_deleted_is_made_anew(node: str, peer: str) -> None:
    with SystemLab(LabSpec(scheme="context-reflector")) as lab:
        address = lab.settle("mn", "mag1")
        for _ in range(2):
            index = lab.nodes[node].run(["ip", "link", "show", tunnel(lab, node, peer)]).split(":")[0]
            lab.nodes[node].run(["ip", "link", "del", tunnel(lab, node, peer)])
            eventually(lambda: served(lab) == address, "no service since the tunnel was deleted")
            assert lab.nodes[node].run(["ip", "link", "show", tunnel(lab, node, peer)]).split(":")[0] != index
        for mag in ("mag2", "mag1"):
            assert lab.settle("mn", mag) == address


def table(lab: SystemLab, node: str) -> list[str]:
    """The daemon's, with the elements of its sets, without what it counts."""
    listing = lab.nodes[node].run(["nft", "-s", "list", "ruleset"])
    return BUDGETS.sub("", listing).split()


@pytest.mark.parametrize("node", ["lma", "mag1"])
def test_rules_that_somebody_flushed_are_made_anew(node: str) -> None:
    with SystemLab(LabSpec(scheme="context-reflector")) as lab:
        address = lab.settle("mn", "mag1")
        assert served(lab) == address
        before = table(lab, node)
        for _ in range(2):
            flush(lab, node)
            assert table(lab, node) == before
            assert served(lab) == address
        for mag in ("mag2", "mag1"):
            assert lab.settle("mn", mag) == address
        assert lab.counters("lma")["hold-started"] == lab.counters("lma")["hold-released"] == 2
        assert lab.counters("lma")["served-with-less"] == 0
        assert "data-plane-refused" not in lab.counters(node)
        assert lab.end(node) == 0
        assert "context_reflector" not in lab.nodes[node].run(["nft", "list", "tables"])


def test_a_tunnel_that_cannot_be_made_anew_is_refused_not_lied_about() -> None:
    """Status 130, and nothing half-installed: neither at the LMA nor at the MAG."""
    with SystemLab() as lab:
        quiet = lab.nodes["lma"].run(["ip", "-6", "route", "show", "proto", "213"])
        ends = ["local", str(LMAA), "remote", str(lab.topology.addresses["mag1"])]
        with stopped(lab, "lma"):
            lab.nodes["lma"].run(["ip", "link", "del", tunnel(lab, "lma", "mag1")])
            lab.nodes["lma"].run(["ip", "link", "add", "other", "type", "ip6tnl", *ends])  # there can be one of these
        eventually(lambda: lab.counters("lma")["data-plane-refused"] >= 1, "the LMA has not tried")
        lab.air_only("mn", "mag1")
        eventually(lambda: lab.states("mag1") == {MN_ID: "refused"}, "mag1 knows of no refusal")
        assert lab.counters("mag1")["pbu-refused-130"] == 1
        assert lab.counters("lma")["data-plane-refused"] >= 2  # it tries again every few seconds
        assert lab.show("lma", "bindings") == []
        assert lab.nodes["lma"].run(["ip", "-6", "route", "show", "proto", "213"]) == quiet
        assert lab.nodes["mag1"].run(["ip", "-6", "route", "show", "2001:db8:1000::/64"]) == ""
        assert "2001:db8:1000" not in lab.nodes["mag1"].run(["ip", "-6", "rule"])
        assert lab.address("mn") is None
        lab.settle("mn", "mag2")  # which has its tunnel


def test_uplink_never_leaves_a_mag_outside_the_tunnel() -> None:
    """Were the device deleted, routing would go on with the main table if ours had no answer."""
    with SystemLab() as lab:
        lab.settle("mn", "mag1")
        cn = str(lab.topology.addresses["cn"])
        node = lab.nodes["mag1"]
        node.run(["ip", "-6", "route", "add", "default", "via", "2001:db8:0:1::ff"])
        source = lab.address("mn")
        assert source is not None
        way = ["ip", "-6", "route", "get", cn, "from", str(source.ip), "iif", "acc-mn"]
        with stopped(lab, "mag1"):
            node.run(["ip", "link", "del", tunnel(lab, "mag1", "lma")])
            with pytest.raises(LabError, match="No route to host"):
                node.run(way)
        eventually(lambda: served(lab), "no service since the tunnel was deleted")


def test_sigterm_before_anything_happened() -> None:
    with SystemLab(traced=True) as other:
        for node in DAEMONS:
            assert other.end(node, SIGTERM) == 0
            assert differences(other.before[node], traces(other.nodes[node])) == {}
