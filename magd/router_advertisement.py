"""Router Advertisements for one MN each (RFC 5213 section 6.9.3), built with scapy and sent as they are.

The IPv6 destination is all-nodes, the frame's destination is the MN alone (RFC 6085): so no address of the MN need be
known or resolved. An advertisement is built once and kept, as refreshes send the same again.
"""

import socket
from functools import lru_cache
from ipaddress import IPv6Network

from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)

from common.actions import Advertise
from common.dataplane.access import MAG_LINK_LOCAL, MAG_MAC

ETH_P_IPV6 = 0x86DD
ALL_NODES_MAC = bytes.fromhex("333300000001")
MAX_ROUTER_LIFETIME = 9000  # seconds, RFC 4861 section 6.2.1


class Advertiser:
    """Sends what the core asks for, out of a packet socket."""

    def __init__(self) -> None:
        # Protocol 0: this socket sends and receives nothing.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)

    def send(self, advertise: Advertise) -> None:
        """Raises OSError when the interface is down or gone."""
        packet = build(advertise.hnps, advertise.lifetime, advertise.mtu)
        mac = advertise.mn_ll_id or ALL_NODES_MAC
        self._socket.sendto(packet, (advertise.interface, ETH_P_IPV6, 0, 0, mac))

    def close(self) -> None:
        self._socket.close()


@lru_cache(maxsize=4096)
def build(hnps: tuple[IPv6Network, ...], lifetime: int, mtu: int) -> bytes:
    """The whole IPv6 packet. `lifetime` in seconds goes for the router and the prefixes; 0 withdraws them."""
    packet = (
        IPv6(src=str(MAG_LINK_LOCAL), dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=min(lifetime, MAX_ROUTER_LIFETIME), M=0, O=0, chlim=64)
        / ICMPv6NDOptSrcLLAddr(lladdr=MAG_MAC)
        / ICMPv6NDOptMTU(mtu=mtu)
    )
    for hnp in hnps:
        packet /= ICMPv6NDOptPrefixInfo(
            prefix=str(hnp.network_address),
            prefixlen=hnp.prefixlen,
            L=1,
            A=1,
            validlifetime=lifetime,
            preferredlifetime=lifetime,
        )
    return bytes(packet)
