"""IPv6 fragments put together again (RFC 8200 section 4.5): a large context needs several packets a message."""

from dataclasses import dataclass, field
from struct import Struct

_IPV6_OCTETS = 40
_FRAGMENT = Struct("!BxHI")  # next header, offset in 8 octets with flags, identification
_MORE = 1


@dataclass(slots=True)
class _Partial:
    pieces: dict[int, bytes] = field(default_factory=dict)
    total: int | None = None
    octets: int = 0  # of all packets, headers included
    began_ns: int = 0


@dataclass(frozen=True, slots=True)
class Whole:
    """A packet's payload, the octets of all its fragments on the wire, when the first and the last were seen."""

    next_header: int
    payload: bytes
    octets: int
    began_ns: int
    done_ns: int


class Fragments:
    """Of one node; copies on several interfaces are told apart by the interface and the way."""

    def __init__(self) -> None:
        self._partials: dict[tuple[object, bytes, int], _Partial] = {}

    def add(self, t_ns: int, where: object, packet: bytes) -> Whole | None:
        """`packet` from its IPv6 header on, whose next header is a Fragment header. The whole once it is complete."""
        if len(packet) < _IPV6_OCTETS + _FRAGMENT.size:
            return None
        next_header, place, identification = _FRAGMENT.unpack_from(packet, _IPV6_OCTETS)
        key = (where, packet[8:40], identification)
        partial = self._partials.setdefault(key, _Partial(began_ns=t_ns))
        piece = packet[_IPV6_OCTETS + _FRAGMENT.size :]
        offset = place & ~0x7
        partial.pieces[offset] = piece
        partial.octets += len(packet)
        if not place & _MORE:
            partial.total = offset + len(piece)
        if partial.total is None or sum(map(len, partial.pieces.values())) < partial.total:
            return None
        del self._partials[key]
        payload = b"".join(partial.pieces[start] for start in sorted(partial.pieces))
        return Whole(next_header, payload, partial.octets, partial.began_ns, t_ns)
