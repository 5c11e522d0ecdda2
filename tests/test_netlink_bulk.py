"""Changes of the size that a start has which goes on with thousands of sessions: more than a netlink socket holds."""

import os
from collections.abc import Iterator
from ipaddress import IPv6Network

import pytest

from common.dataplane import routes
from common.dataplane.elements import Element, ElementSocket
from common.dataplane.filter import Filter
from common.dataplane.netlink import RouteSocket
from common.errors import DataPlaneError
from testbed.lab.node import Node

MANY = 5000
PROTOCOL = 213
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node("bulk")
    try:
        with node.inside():
            yield node
    finally:
        node.close()


def prefix(number: int) -> IPv6Network:
    return IPv6Network((0x20010DB8 << 96 | number << 64, 64))


def test_routes_of_thousands_of_sessions(node: Node) -> None:
    netlink = RouteSocket()
    netlink.request([routes.blackhole(PROTOCOL, prefix(number)) for number in range(MANY)])
    assert len(node.run(["ip", "-6", "route", "show", "proto", str(PROTOCOL)]).splitlines()) == MANY
    removals = [routes.no_route(PROTOCOL, prefix(number)) for number in range(MANY)]
    with pytest.raises(DataPlaneError, match="No such process"):
        netlink.request([routes.no_route(PROTOCOL, prefix(MANY)), *removals])
    assert not node.run(["ip", "-6", "route", "show", "proto", str(PROTOCOL)])  # all but the wrong one are carried out
    netlink.close()


def test_set_elements_of_thousands_of_sessions(node: Node) -> None:
    table = Filter("bulk")
    table.install("set served { typeof @nh,64,64; }")
    elements = ElementSocket("bulk")
    many = [Element("served", number.to_bytes(8, "big")) for number in range(MANY)]
    elements.change(add=many)
    assert elements.listed("served") == set(many)
    with pytest.raises(DataPlaneError, match="No such file"):
        elements.change(add=[Element("served", bytes(range(8)))], remove=[Element("nowhere", bytes(8)), *many])
    assert elements.listed("served") == set(many)  # all or nothing
    with pytest.raises(DataPlaneError, match="No such file"):  # more answers than have room
        elements.change(remove=[Element("nowhere", element.key) for element in many])
    elements.change(remove=many)
    assert not elements.listed("served")
    elements.close()
