"""Routes, rules and neighbour entries that bear our protocol number, whoever of us left them."""

import socket

from pyroute2 import IPRoute
from pyroute2.netlink import nlmsg


def remove_all(ipr: IPRoute, protocol: int) -> None:
    """Remove them; tunnels and the table see to themselves."""
    family = socket.AF_INET6
    for route in ipr.get_routes(family=family):
        if route["proto"] == protocol:
            ipr.route("del", **_identity(route, "RTA_", "DST", "OIF", "PRIORITY", "TABLE"), dst_len=route["dst_len"])
    for rule in ipr.get_rules(family=family):
        if rule.get_attr("FRA_PROTOCOL") == protocol:
            ipr.rule("del", **_identity(rule, "FRA_", "SRC", "IIFNAME", "PRIORITY", "TABLE"), src_len=rule["src_len"])
    for neighbour in ipr.get_neighbours(family=family):
        if neighbour.get_attr("NDA_PROTOCOL") == protocol:
            ipr.neigh("del", family=family, ifindex=neighbour["ifindex"], dst=neighbour.get_attr("NDA_DST"))


def _identity(message: nlmsg, prefix: str, *names: str) -> dict[str, object]:
    """The attributes by which the kernel finds this route or rule again, as pyroute2's keywords."""
    values = ((name.lower(), message.get_attr(prefix + name)) for name in names)
    return {"family": socket.AF_INET6, **{name: value for name, value in values if value is not None}}
