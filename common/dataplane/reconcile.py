"""Routes, rules and neighbour entries that bear our protocol number, whoever of us left them.

A table of a tunnel has the tunnel's own routes, which are made at every start; it is named here so that they stay.
"""

import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from pyroute2 import IPRoute
from pyroute2.netlink import nlmsg

RT_TABLE_MAIN = 254
EVERYTHING = IPv6Network("::/0")


@dataclass(frozen=True, slots=True)
class Route:
    prefix: IPv6Network
    metric: int
    table: int = RT_TABLE_MAIN


@dataclass(frozen=True, slots=True)
class Rule:
    """What comes from an access link with a source in the prefix is routed by the table."""

    prefix: IPv6Network
    interface: str
    table: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    interface: int
    address: IPv6Address


Installed = Route | Rule | Neighbour


def remove_all(ipr: IPRoute, protocol: int) -> None:
    """Remove them; nftables' table and tunnels see to themselves."""
    remove_strays(ipr, protocol, frozenset(), ())


def remove_strays(ipr: IPRoute, protocol: int, wanted: Collection[Installed], tables: Collection[int]) -> int:
    """Remove those that are not wanted, except for the routes of these tables; how many that were."""
    family, removed = socket.AF_INET6, 0
    for route in ipr.get_routes(family=family):
        table = route.get_attr("RTA_TABLE")
        if route["proto"] != protocol or table in tables:
            continue
        prefix = IPv6Network((route.get_attr("RTA_DST") or "::", route["dst_len"]))
        if Route(prefix, route.get_attr("RTA_PRIORITY"), table) not in wanted:
            ipr.route("del", **_identity(route, "RTA_", "DST", "OIF", "PRIORITY", "TABLE"), dst_len=route["dst_len"])
            removed += 1
    for rule in ipr.get_rules(family=family):
        if rule.get_attr("FRA_PROTOCOL") != protocol:
            continue
        prefix = IPv6Network((rule.get_attr("FRA_SRC") or "::", rule["src_len"]))
        if Rule(prefix, rule.get_attr("FRA_IIFNAME") or "", rule.get_attr("FRA_TABLE")) not in wanted:
            ipr.rule("del", **_identity(rule, "FRA_", "SRC", "IIFNAME", "PRIORITY", "TABLE"), src_len=rule["src_len"])
            removed += 1
    for neighbour in ipr.get_neighbours(family=family):
        address = neighbour.get_attr("NDA_DST")
        if neighbour.get_attr("NDA_PROTOCOL") != protocol:
            continue
        if Neighbour(neighbour["ifindex"], IPv6Address(address)) not in wanted:
            ipr.neigh("del", family=family, ifindex=neighbour["ifindex"], dst=address)
            removed += 1
    return removed


def _identity(message: nlmsg, prefix: str, *names: str) -> dict[str, object]:
    """The attributes by which the kernel finds this route or rule again, as pyroute2's keywords."""
    values = ((name.lower(), message.get_attr(prefix + name)) for name in names)
    return {"family": socket.AF_INET6, **{name: value for name, value in values if value is not None}}
