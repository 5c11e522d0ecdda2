"""Router Advertisements for one MN each (RFC 5213 section 6.9.3), built with scapy and sent as they are.

The IPv6 destination is all-nodes, the frame's destination is the MN alone (RFC 6085): so no address of the MN need be
known or resolved. An advertisement is built once and kept, as refreshes send the same again.
"""

import socket
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)

from common.actions import Advertise
from common.dataplane.access import mac_of
from common.dataplane.router import MAG_LINK_LOCAL, MAG_MAC, RouterAddresses

ETH_P_IPV6 = 0x86DD
ALL_NODES_MAC = bytes.fromhex("333300000001")
MAX_ROUTER_LIFETIME = 9000  # seconds, RFC 4861 section 6.2.1


class Advertiser:
    """Sends what the core asks for, out of a packet socket; `managed` and `other` are the flags that lead to DHCPv6."""

    def __init__(self, router: RouterAddresses, *, managed: bool = False, other: bool = False) -> None:
        self._router = router
        self._managed, self._other = managed, other
        # Protocol 0: this socket sends and receives nothing.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)

    def send(self, advertise: Advertise) -> None:
        """Raises OSError when the interface is down or gone."""
        flags = (self._managed, self._other)
        router = (
            advertise.router or self._router.link_local or MAG_LINK_LOCAL,
            self._router.mac or mac_of(advertise.interface),
        )
        packet = build(
            advertise.hnps,
            advertise.lifetime,
            advertise.mtu,
            withdrawn=advertise.withdrawn,
            flags=flags,
            router=router,
        )
        mac = advertise.mn_ll_id or ALL_NODES_MAC
        self._socket.sendto(packet, (advertise.interface, ETH_P_IPV6, 0, 0, mac))

    def close(self) -> None:
        self._socket.close()


@lru_cache(maxsize=4096)
def build(
    hnps: tuple[IPv6Network, ...],
    lifetime: int,
    mtu: int,
    *,
    withdrawn: tuple[IPv6Network, ...] = (),
    flags: tuple[bool, bool] = (False, False),
    router: tuple[IPv6Address, str] = (MAG_LINK_LOCAL, MAG_MAC),
) -> bytes:
    """The whole IPv6 packet. `lifetime` in seconds goes for the router and `hnps`; that of `withdrawn` is 0.

    `flags` are M and O (RFC 4861 section 4.2). Where addresses come by DHCPv6 only, there is no autoconfiguration.
    `router` is its link-local address and its MAC.
    """
    managed, other = flags
    address, mac = router
    packet = (
        IPv6(src=str(address), dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=min(lifetime, MAX_ROUTER_LIFETIME), M=managed, O=other, chlim=64)
        / ICMPv6NDOptSrcLLAddr(lladdr=mac)
        / ICMPv6NDOptMTU(mtu=mtu)
    )
    for hnp, valid in (*((hnp, lifetime) for hnp in hnps), *((hnp, 0) for hnp in withdrawn)):
        packet /= ICMPv6NDOptPrefixInfo(
            prefix=str(hnp.network_address),
            prefixlen=hnp.prefixlen,
            L=1,
            A=not managed,
            validlifetime=valid,
            preferredlifetime=valid,
        )
    return bytes(packet)
