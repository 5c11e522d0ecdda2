"""Whether an MN is still there (RFC 5213 section 6.13), by Neighbor Unreachability Detection (RFC 4861 section 7.3).

Whoever was heard from in the last REACHABLE_TIME is there. Who was not is solicited three times, a second apart; one
answer is enough. What addresses an MN has is learnt from what it sends, and guessed at from its link-layer identifier.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from math import inf

REACHABLE_TIME = 30.0  # RFC 4861 section 10, seconds
RETRANS_TIMER = 1.0
MAX_UNICAST_SOLICIT = 3
MAX_ADDRESSES = 8  # of an interface that are remembered


def eui64_link_local(mac: bytes) -> IPv6Address:
    """The link-local address that an interface has unless it makes up another (RFC 4291 appendix A)."""
    return IPv6Address(bytes.fromhex("fe80000000000000") + bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:])))


@dataclass
class _Heard:
    at: float = -inf
    addresses: dict[IPv6Address, None] = field(default_factory=dict)  # in the order in which they were last heard of


class Presence:
    """What was heard of link-layer identifiers that have a profile; `lost` are those that did not answer."""

    def __init__(self) -> None:
        self._of: dict[bytes, _Heard] = {}
        self.lost: set[bytes] = set()

    def heard(self, ll_id: bytes, address: IPv6Address | None, now: float) -> None:
        """The interface has sent something, from this address or about it."""
        known = self._of.setdefault(ll_id, _Heard())
        known.at = now
        self.lost.discard(ll_id)
        if address is not None and not address.is_unspecified and not address.is_multicast:
            known.addresses.pop(address, None)
            known.addresses[address] = None
            if len(known.addresses) > MAX_ADDRESSES:
                del known.addresses[next(iter(known.addresses))]

    def is_fresh(self, ll_id: bytes, lifetime: int, now: float) -> bool:
        """Whether it was heard from so lately that it need not be looked for, as short as its binding may be."""
        known = self._of.get(ll_id)
        lately = min(REACHABLE_TIME, lifetime / 4) if lifetime else REACHABLE_TIME
        return known is not None and known.at > now - lately

    def said(self, ll_id: bytes) -> tuple[IPv6Address, ...]:
        """The addresses that it has, or was about to have, by its own word."""
        return tuple(self._of.get(ll_id, _Heard()).addresses)

    def addresses(self, ll_id: bytes, hnps: Iterable[IPv6Network]) -> tuple[IPv6Address, ...]:
        """Where it may answer: link-local addresses, and those out of its own prefixes."""
        own = tuple(hnps)
        known = self._of.get(ll_id, _Heard()).addresses
        heard = [each for each in known if each.is_link_local or any(each in hnp for hnp in own)]
        return tuple(dict.fromkeys((eui64_link_local(ll_id), *heard)))


def interval(lifetime: int) -> float:
    """Seconds between two solicitations: three of them must fit into what is left of a binding that is refreshed."""
    return min(RETRANS_TIMER, lifetime / 12) if lifetime else RETRANS_TIMER
