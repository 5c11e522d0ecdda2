"""Asking an MN for a sign of life: what the kernel knows of its addresses, and Neighbor Solicitations to each.

RFC 4861 section 7.3. An address of the MN that the kernel has found reachable lately is an answer already.
"""

import socket
from collections.abc import Callable
from ipaddress import IPv6Address

from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6

from common.actions import Solicit
from common.dataplane.access import mac_of
from common.dataplane.neighbours import neighbours
from common.dataplane.router import MAG_LINK_LOCAL, RouterAddresses

ETH_P_IPV6 = 0x86DD


class Neighbours:
    """`heard(interface, MAC, address)` is called for an MN that need not be asked."""

    def __init__(self, router: RouterAddresses, heard: Callable[[str, bytes, IPv6Address], None]) -> None:
        self._router = router
        self._heard = heard
        # Protocol 0: this socket receives nothing.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)

    def solicit(self, request: Solicit) -> None:
        """Raises OSError when the interface is down or gone."""
        # What a daemon put there (permanent) is not what the kernel found out.
        known = [each for each in neighbours(request.interface) if each.mac == request.mn_ll_id and not each.permanent]
        if reachable := [each.address for each in known if each.reachable]:
            self._heard(request.interface, request.mn_ll_id, reachable[0])
            return
        source = request.router or self._router.link_local or MAG_LINK_LOCAL
        mac = self._router.mac or mac_of(request.interface)
        for target in dict.fromkeys((*request.addresses, *(each.address for each in known))):
            where = (request.interface, ETH_P_IPV6, 0, 0, request.mn_ll_id)
            self._socket.sendto(build(target, source, mac), where)

    def close(self) -> None:
        self._socket.close()


def build(target: IPv6Address, source: IPv6Address, mac: str) -> bytes:
    """The whole IPv6 packet, from the router's address and MAC.

    It goes to the address itself, for what is probed is a link-layer address that is known.
    """
    return bytes(
        IPv6(src=str(source), dst=str(target), hlim=255)
        / ICMPv6ND_NS(tgt=str(target))
        / ICMPv6NDOptSrcLLAddr(lladdr=mac)
    )
