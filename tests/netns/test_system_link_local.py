"""Gateways without addresses in common: the MN's router has the address that the LMA says, and each link's own MAC."""

import json
from signal import SIGKILL

import pytest

from common.dataplane.router import MAG_LINK_LOCAL, MAG_MAC
from testbed.lab.node import Node
from tests.netns.system import SystemLab, differences, eventually, traces

pytestmark = pytest.mark.netns

NOT_FIXED = """[mag]
fixed_mag_link_local_address_on_all_access_links = "::"
fixed_mag_link_layer_address_on_all_access_links = "00:00:00:00:00:00"
"""
EDITS = {mag: [("[mag]\n", NOT_FIXED)] for mag in ("mag1", "mag2")}


def link_local(node: Node) -> list[str]:
    [link] = json.loads(node.run(["ip", "-j", "-6", "address", "show", "dev", "acc-mn", "scope", "link"])) or [{}]
    return [each["local"] for each in link.get("addr_info", [])]


def mac(node: Node) -> str:
    [link] = json.loads(node.run(["ip", "-j", "link", "show", "dev", "acc-mn"]))
    return str(link["address"])


def test_a_link_has_the_address_that_the_lma_gave_while_the_mn_is_on_it() -> None:
    with SystemLab(edits=EDITS, persistent=True, traced=True) as lab:
        mags = {name: lab.nodes[name] for name in ("mag1", "mag2")}
        own = {name: mac(node) for name, node in mags.items()}
        assert MAG_MAC not in own.values()
        assert [link_local(node) for node in mags.values()] == [[], []]
        address = lab.settle("mn", "mag1")
        assert link_local(mags["mag1"]) == [str(MAG_LINK_LOCAL)]
        # A gateway that was killed finds it there, and its MN served.
        lab.end("mag1", SIGKILL)
        assert link_local(mags["mag1"]) == [str(MAG_LINK_LOCAL)]
        lab.start("mag1")
        assert link_local(mags["mag1"]) == [str(MAG_LINK_LOCAL)]
        assert lab.settle("mn", "mag2") == address
        assert link_local(mags["mag2"]) == [str(MAG_LINK_LOCAL)]
        assert f"via {MAG_LINK_LOCAL} dev eth0" in lab.nodes["mn"].run(["ip", "-6", "route", "show", "default"])
        neighbours = lab.nodes["mn"].run(["ip", "-6", "neigh", "show", str(MAG_LINK_LOCAL)])
        assert f"lladdr {own['mag2']} router" in neighbours
        eventually(lambda: link_local(mags["mag1"]) == [], "mag1's link keeps the address of an MN that left")
        assert {name: mac(node) for name, node in mags.items()} == own
        lab.network.air.detach(["mn"], {})
        eventually(lambda: not lab.states("mag2"), "mag2 keeps an MN that left")
        for name, node in mags.items():
            assert lab.end(name) == 0
            assert differences(lab.before[name], traces(node)) == {}
