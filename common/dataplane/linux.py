"""The Linux data plane: ip6tnl tunnels, routes, source rules, the packet filter.

What a session has installed is remembered in `_installed`; `apply` sends the difference. Tunnels, routes and the table
carry the role's marks: at start whatever bears them and is not wanted goes, and nothing else is ever touched.
"""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink import nlmsg
from pyroute2.netlink.exceptions import NetlinkError

from common.actions import Drop, Forward, Forwarding, ToAccess, ToPeer
from common.dataplane import routes, tunnels
from common.dataplane.access import AccessLinks
from common.dataplane.filter import Filter
from common.dataplane.netlink import RouteSocket
from common.errors import DataPlaneError

GONE = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL})
FORWARDING = Path("/proc/sys/net/ipv6/conf/all/forwarding")
TUNNEL_TABLE = 5213  # the first of the tables whose default route is a tunnel
POOL_METRIC = 4096


@dataclass(frozen=True, slots=True)
class Role:
    """The marks of one daemon: what bears them is its own."""

    name: str
    device_prefix: str
    protocol: int
    drop_reason: str


LMA = Role("lmad", "pml", 213, "uplink_not_from_serving_mag")
MAG = Role("magd", "pmg", 214, "uplink_without_binding")


class LinuxDataPlane:
    """DataPlane on netlink and nftables; `pools` are attracted, `access_interfaces` are the MAG's."""

    def __init__(self, role: Role, pools: Iterable[IPv6Network] = (), access_interfaces: tuple[str, ...] = ()) -> None:
        self._role = role
        self._pools = tuple(pools)
        self._access_interfaces = access_interfaces
        self._installed: dict[IPv6Network, Forwarding] = {}
        self._tunnels: dict[IPv6Address, int] = {}
        self._tables: dict[IPv6Address, int] = {}
        self._filter = Filter(f"context_reflector_{role.name}", role.drop_reason)
        self._route_socket = RouteSocket()
        self._access: AccessLinks | None = None
        self._ipr = IPRoute()

    def start(self, local: IPv6Address, peers: Iterable[IPv6Address]) -> None:
        """See DataPlane.start; also takes the access interfaces and attracts the pools."""
        if FORWARDING.read_text().strip() != "1":
            raise DataPlaneError("this node does not forward IPv6; set it: sysctl -w net.ipv6.conf.all.forwarding=1")
        try:
            routes.prepare(self._role.protocol)
            self._remove_strays()
            self._tunnels = tunnels.ensure(self._ipr, self._role.device_prefix, local, set(peers))
            if self._access_interfaces:
                self._access = AccessLinks(self._ipr, self._access_interfaces)
                for number, (peer, index) in enumerate(self._tunnels.items()):
                    self._tables[peer] = TUNNEL_TABLE + number
                    self._ipr.route(
                        "replace",
                        dst="default",
                        family=socket.AF_INET6,
                        oif=index,
                        table=TUNNEL_TABLE + number,
                        proto=self._role.protocol,
                    )
        except NetlinkError as error:
            raise DataPlaneError(f"the kernel refused a tunnel or route: {error}{_hint(error)}") from error
        self._route_socket.request([routes.blackhole(self._role.protocol, pool) for pool in self._pools])
        self._filter.install(self._access_interfaces or [self._role.device_prefix + "*"])

    def mtu(self, peer: IPv6Address) -> int:
        """Of the tunnel to a peer, octets (RFC 2473 section 7)."""
        mtu: int = self._ipr.get_links(self._tunnels[peer])[0].get_attr("IFLA_MTU")
        return mtu

    def apply(self, forward: Forward) -> None:
        """See DataPlane.apply."""
        try:
            for hnp in forward.hnps:
                self._change(hnp, forward.forwarding)
        except DataPlaneError:
            for hnp in forward.hnps:
                self._change(hnp, None)
            raise

    def drops(self) -> dict[str, int]:
        return self._filter.drops()

    def close(self) -> None:
        """See DataPlane.close; what a crash in between would leave, the next start removes."""
        self._filter.remove()
        self._remove_strays()
        tunnels.ensure(self._ipr, self._role.device_prefix, IPv6Address("::"), set())
        if self._access:
            self._access.release()
        self._route_socket.close()
        self._ipr.close()

    def _change(self, hnp: IPv6Network, wanted: Forwarding | None) -> None:
        before = self._installed.pop(hnp, None)
        messages = [] if before is None else self._leftovers(hnp, before, wanted)
        if messages:
            self._route_socket.request(messages, GONE)
        if wanted is not None:
            # Noted first: a request that fails half-way is then taken back whole.
            self._installed[hnp] = wanted
            self._route_socket.request(self._additions(hnp, before, wanted), frozenset({errno.EEXIST}))

    def _additions(self, hnp: IPv6Network, before: Forwarding | None, wanted: Forwarding) -> list[bytearray]:
        protocol = self._role.protocol
        match wanted.downlink:
            case Drop():
                messages = [routes.blackhole(protocol, hnp)]
            case ToPeer(peer):
                messages = [routes.to_device(protocol, hnp, self._tunnel(peer))]
            case ToAccess(interface, None):
                messages = [routes.to_device(protocol, hnp, _index(interface))]
            case ToAccess(interface, bytes(mac)):
                messages = routes.to_node(protocol, hnp, _index(interface), mac)
        rule = self._rule(hnp, wanted)
        if rule and (before is None or rule != self._rule(hnp, before)):
            messages.append(routes.source_rule(protocol, hnp, *rule))
        return messages

    def _leftovers(self, hnp: IPv6Network, before: Forwarding, wanted: Forwarding | None) -> list[bytearray]:
        """What of `before` a replacing route does not replace."""
        protocol = self._role.protocol
        messages: list[bytearray] = []
        rule = self._rule(hnp, before)
        if rule and (wanted is None or rule != self._rule(hnp, wanted)):
            messages.append(routes.source_rule(protocol, hnp, *rule, remove=True))
        if wanted is None:
            messages.append(routes.no_route(protocol, hnp))
        match before.downlink:
            case ToAccess(interface, bytes(mac)) if wanted is None or wanted.downlink != before.downlink:
                if index := _index(interface, missing_ok=True):
                    messages.append(routes.forget_node(protocol, index, mac))
        return messages

    def _rule(self, hnp: IPv6Network, forwarding: Forwarding) -> tuple[str, int] | None:
        match forwarding:
            case Forwarding(downlink=ToAccess(interface), uplink_to=IPv6Address() as lma):
                self._tunnel(lma)
                return interface, self._tables[lma]
        return None

    def _tunnel(self, peer: IPv6Address) -> int:
        if peer not in self._tunnels:
            raise DataPlaneError(f"there is no tunnel to {peer}")
        return self._tunnels[peer]

    def _remove_strays(self) -> None:
        """Remove every route, rule and neighbour entry that bears our protocol number."""
        ipr, family = self._ipr, socket.AF_INET6
        for route in ipr.get_routes(family=family):
            if route["proto"] == self._role.protocol:
                ipr.route(
                    "del", **_identity(route, "RTA_", "DST", "OIF", "PRIORITY", "TABLE"), dst_len=route["dst_len"]
                )
        for rule in ipr.get_rules(family=family):
            if rule.get_attr("FRA_PROTOCOL") == self._role.protocol:
                ipr.rule(
                    "del", **_identity(rule, "FRA_", "SRC", "IIFNAME", "PRIORITY", "TABLE"), src_len=rule["src_len"]
                )
        for neighbour in ipr.get_neighbours(family=family):
            if neighbour.get_attr("NDA_PROTOCOL") == self._role.protocol:
                ipr.neigh("del", family=family, ifindex=neighbour["ifindex"], dst=neighbour.get_attr("NDA_DST"))
        self._installed.clear()


def _identity(message: nlmsg, prefix: str, *names: str) -> dict[str, object]:
    """The attributes by which the kernel finds this route or rule again, as pyroute2's keywords."""
    values = ((name.lower(), message.get_attr(prefix + name)) for name in names)
    return {"family": socket.AF_INET6, **{name: value for name, value in values if value is not None}}


def _index(interface: str, *, missing_ok: bool = False) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        if missing_ok:
            return 0
        raise DataPlaneError(f"access interface {interface} does not exist") from error


def _hint(error: NetlinkError) -> str:
    return " (is the kernel module ip6_tunnel there? modprobe ip6_tunnel)" if error.code == errno.EOPNOTSUPP else ""
