"""What can be read off a Forwarding."""

from ipaddress import IPv6Address, IPv6Network

from common.actions import Forwarding, ToAccess, ToPeer

OnLink = tuple[str, IPv6Address]  # an access link, and a link-local address of the router there


def key(hnp: IPv6Network) -> bytes:
    return hnp.network_address.packed[:8]


def access_of(forwarding: Forwarding | None) -> str | None:
    """The access link that the MN is on or will come to, if the path leads there or from there."""
    match forwarding:
        case Forwarding(downlink=ToAccess(interface)):
            return interface
    return forwarding.still_on if forwarding else None


def peers_of(forwarding: Forwarding) -> frozenset[IPv6Address]:
    """Those into whose tunnels packets of the session go, or out of which they come."""
    downlink = {forwarding.downlink.peer} if isinstance(forwarding.downlink, ToPeer) else set()
    uplink = {forwarding.uplink_to} if forwarding.uplink_to else set()
    return frozenset({*downlink, *uplink, *forwarding.uplink_from, *forwarding.downlink_from})


def station_of(forwarding: Forwarding) -> tuple[str | None, bytes | None]:
    """The access link of the path and the MAC behind it."""
    match forwarding:
        case Forwarding(downlink=ToAccess(interface, mac)):
            return interface, mac
    return None, None


def router_of(forwarding: Forwarding | None) -> OnLink | None:
    """Where the MN finds its router, if it has one of its own."""
    match forwarding:
        case Forwarding(downlink=ToAccess(interface, router=IPv6Address() as router)):
            return interface, router
    return None
