"""The way of a session's packets as netlink messages: routes, neighbour entry and source rule of each prefix."""

import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network

from common.actions import Drop, Forwarding, ToAccess, ToPeer
from common.dataplane import routes
from common.dataplane.forwardings import access_of
from common.dataplane.reconcile import Installed, Neighbour, Route, Rule
from common.errors import DataPlaneError


class Paths:
    """`tunnels`: the device index for each peer; `tables`: the routing table whose default route is that tunnel."""

    def __init__(self, protocol: int, tunnels: Mapping[IPv6Address, int], tables: Mapping[IPv6Address, int]) -> None:
        self._protocol = protocol
        self._tunnels = tunnels
        self._tables = tables

    def tunnel(self, peer: IPv6Address) -> int:
        if peer not in self._tunnels:
            raise DataPlaneError(f"there is no tunnel to {peer}")
        return self._tunnels[peer]

    def additions(self, hnp: IPv6Network, before: Forwarding | None, wanted: Forwarding) -> list[bytearray]:
        """What is to be installed, or to replace what is there."""
        messages: list[bytearray] = []
        old = self._rules(before) if before else []
        # Ahead of the route, by which the filter knows whose uplink to let in: that has its way by then.
        messages += [routes.source_rule(self._protocol, hnp, *rule) for rule in self._rules(wanted) if rule not in old]
        if before is None or wanted.downlink != before.downlink:
            messages += self._downlink(hnp, wanted)
        way_back = self._way_back(wanted)
        if way_back and (before is None or way_back != self._way_back(before)):
            messages.append(routes.give_back(self._protocol, hnp, way_back))
        local = self._local(wanted)
        if local and (before is None or local != self._local(before)):
            messages.append(routes.local(self._protocol, hnp, interface_index(local.interface), local.mn_ll_id))
        return messages

    def leftovers(self, hnp: IPv6Network, before: Forwarding, wanted: Forwarding | None) -> list[bytearray]:
        """What of `before` is to be removed, because a replacing route does not replace it."""
        protocol = self._protocol
        messages: list[bytearray] = []
        if wanted is None:
            messages.append(routes.no_route(protocol, hnp))
        new = self._rules(wanted) if wanted else []
        for rule in self._rules(before):
            if rule not in new:
                messages.append(routes.source_rule(protocol, hnp, *rule, remove=True))
        if self._local(before) and (wanted is None or not self._local(wanted)):
            messages.append(routes.no_local(protocol, hnp))
        if self._way_back(before) and (wanted is None or not self._way_back(wanted)):
            messages.append(routes.give_back(protocol, hnp, 0, remove=True))
        match before.downlink:
            case ToAccess(interface, bytes(mac)) if wanted is None or wanted.downlink != before.downlink:
                if index := interface_index(interface, missing_ok=True):
                    messages.append(routes.forget_node(protocol, index, mac))
        return messages

    def installed(self, hnp: IPv6Network, forwarding: Forwarding) -> Iterator[Installed]:
        """What a prefix that is forwarded so has in the kernel."""
        yield Route(hnp, routes.HNP_METRIC)
        if self._way_back(forwarding):
            yield Route(hnp, routes.GIVE_BACK_METRIC)
        for rule in self._rules(forwarding):
            yield Rule(hnp, *rule)
        if self._local(forwarding):
            yield Route(hnp, routes.HNP_METRIC, routes.LOCAL_TABLE)
        match forwarding.downlink:
            case ToAccess(interface, bytes(mac)):
                yield Neighbour(interface_index(interface), IPv6Address(routes.link_local_of(mac)))

    def _downlink(self, hnp: IPv6Network, wanted: Forwarding) -> list[bytearray]:
        match wanted.downlink:
            case Drop():
                return [routes.blackhole(self._protocol, hnp)]
            case ToPeer(peer):
                return [routes.to_device(self._protocol, hnp, self.tunnel(peer))]
            case ToAccess(interface, None):
                return [routes.to_device(self._protocol, hnp, interface_index(interface))]
            case ToAccess(interface, bytes(mac)):
                return routes.to_node(self._protocol, hnp, interface_index(interface), mac)
        raise AssertionError(wanted)

    def _rules(self, forwarding: Forwarding) -> list[tuple[str, int]]:
        """At a MAG: by which device uplink may come in, and the table that leads it on."""
        upstream = forwarding.uplink_to
        if upstream is None:
            return []
        self.tunnel(upstream)
        interface = access_of(forwarding)
        peers = sorted(socket.if_indextoname(self.tunnel(peer)) for peer in forwarding.uplink_from)
        return [(name, self._tables[upstream]) for name in ([interface] if interface else []) + peers]

    def _local(self, forwarding: Forwarding) -> ToAccess | None:
        """Where other MNs of this MAG find this one: not while what is for it waits, for theirs would overtake that."""
        match forwarding:
            case Forwarding(downlink=ToAccess() as access, direct=True, held=False):
                return access
        return None

    def _way_back(self, forwarding: Forwarding) -> int:
        """The tunnel that takes what finds the MN gone, or 0."""
        match forwarding:
            case Forwarding(downlink=ToAccess(), uplink_to=IPv6Address() as lma, give_back=True):
                return self.tunnel(lma)
        return 0


def interface_index(interface: str, *, missing_ok: bool = False) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        if missing_ok:
            return 0
        raise DataPlaneError(f"access interface {interface} does not exist") from error
