"""How a MAG notices its MNs besides the carrier: Router Solicitations, and an operator's word."""

from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest
from click.testing import CliRunner
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, IPv6

from magd.ctl import main as magctl
from tests.netns.system import Edits, SystemLab, captured, deaf, eventually, packets, solicit

pytestmark = pytest.mark.netns

MN_ID = "mn1@example.net"
# A link that anybody may be on: the MN is known by its MAC alone.
SHARED_LINK: Edits = {mag: [('interface = "acc-mn"\n', "")] for mag in ("mag1", "mag2")}
SILENT: Edits = {mag: [("[mag]\n", "[mag]\nattachment = []\n")] for mag in ("mag1", "mag2")}


def advertisements(packets_seen: Iterator[bytes]) -> list[IPv6]:
    return [packet for data in packets_seen if ICMPv6ND_RA in (packet := IPv6(data))]


def test_an_mn_is_known_by_its_mac_when_it_solicits() -> None:
    with SystemLab(edits=SHARED_LINK) as lab:
        assert lab.states("mag1") == {}
        lab.air_only("mn", "mag1")
        solicit(lab.nodes["mn"])
        address = lab.settle("mn", "mag1")
        assert lab.states("mag1") == {MN_ID: "registered"}
        lab.air_only("mn", "mag2")
        eventually(lambda: not lab.states("mag1"), "mag1 has not noticed that the MN left")
        assert lab.states("mag2") == {}

        def came_with_a_solicitation() -> bool:
            solicit(lab.nodes["mn"])  # the MN's own kernel has seen nothing of the move
            return lab.serving() == {MN_ID: "mag2"}

        eventually(came_with_a_solicitation, "mag2 does not register the MN")
        assert lab.wait_for_service("mn").ip == address


def test_a_solicitation_is_answered_once_the_mn_is_registered() -> None:
    """RFC 5213 section 6.9.2."""
    with SystemLab(edits=SHARED_LINK) as lab, packets(lab.nodes["mn"], "eth0") as link:
        with deaf(lab.nodes["mag1"]):
            lab.air_only("mn", "mag1")
            solicit(lab.nodes["mn"])
            eventually(lambda: lab.states("mag1") == {MN_ID: "registering"}, "mag1 does not register the MN")
            solicit(lab.nodes["mn"])
            # A retransmission takes a second: by then the solicitation has been read.
            eventually(lambda: lab.counters("mag1")["sent-PBU"] >= 2, "mag1 does not repeat itself")
            assert advertisements(captured(link)) == []
        eventually(lambda: lab.states("mag1") == {MN_ID: "registered"}, "mag1 does not repeat itself any more")
        address = lab.wait_for_service("mn").ip
        first = advertisements(captured(link))[0]
        assert (first.src, first.dst, first.hlim) == ("fe80::200:5eff:fe00:5213", "ff02::1", 255)
        assert first[ICMPv6NDOptMTU].mtu == 1460
        prefix = first[ICMPv6NDOptPrefixInfo]
        assert (prefix.prefixlen, prefix.L, prefix.A) == (64, 1, 1)
        assert IPv6Address(prefix.prefix) == IPv6Address(int(address) >> 64 << 64)
        # From now on at once.
        solicit(lab.nodes["mn"])
        eventually(lambda: advertisements(captured(link)), "no advertisement for the solicitation")


def test_an_access_link_that_is_made_anew_is_not_taken_for_the_one_that_was() -> None:
    with SystemLab() as lab:
        lab.settle("mn", "mag1")
        mag = lab.nodes["mag1"]
        mag.run(["ip", "link", "delete", "acc-mn"])
        eventually(lambda: not lab.states("mag1"), "mag1 has not noticed that the link went")
        assert "access-link-replaced" not in lab.counters("mag1")
        mag.run(["ip", "link", "add", "acc-mn", "type", "dummy"])
        mag.run(["ip", "link", "set", "acc-mn", "up"])
        eventually(lambda: lab.counters("mag1").get("access-link-replaced") == 1, "mag1 takes it for its own")


def test_attach_and_detach_by_an_operator() -> None:
    with SystemLab(edits=SILENT) as lab:

        def say(mag: str, *words: str) -> tuple[int, str]:
            done = CliRunner().invoke(magctl, ["--socket", str(lab.control_socket(mag)), *words])
            return done.exit_code, done.output.strip()

        lab.air_only("mn", "mag1")
        solicit(lab.nodes["mn"])
        assert say("mag1", "show", "mobile-nodes") == (0, "none")
        assert say("mag1", "attach", MN_ID) == (0, "")
        address = lab.wait_for_service("mn")
        assert lab.serving() == {MN_ID: "mag1"}
        assert say("mag1", "detach", MN_ID) == (0, "")
        eventually(lambda: not lab.serving(), "the LMA still has the MN")
        eventually(lambda: not lab.states("mag1"), "mag1 still has the MN")
        lab.air_only("mn", "mag2")
        assert say("mag2", "attach", MN_ID, "acc-mn") == (0, "")
        assert lab.wait_for_service("mn") == address
        for words, complaint in (
            (("detach", "nobody@example.net"), "magctl: nobody@example.net is not attached"),
            (
                ("attach", "nobody@example.net"),
                "magctl: nobody@example.net has no profile that names an interface: say which",
            ),
            (("attach", "nobody@example.net", "acc-mn"), "magctl: nobody@example.net has no policy profile here"),
            (("attach", MN_ID, "eth7"), "magctl: eth7 is not among mag.access_interfaces"),
        ):
            assert say("mag2", *words) == (1, complaint)
