"""Everything a core may ask its shell for.

A core never acts: it returns these values, in the order in which they are to be carried out. `common/daemon.py`
carries them out; the tests compare them.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from common.mh.messages import BindingError, Message, MnId


@dataclass(frozen=True, slots=True)
class Drop:
    """Downlink: what arrives for the prefixes is dropped in the kernel."""


@dataclass(frozen=True, slots=True)
class ToPeer:
    """Downlink: through the tunnel to this MAG."""

    peer: IPv6Address


@dataclass(frozen=True, slots=True)
class ToAccess:
    """Downlink: out of this access interface; with `mn_ll_id` (a MAC address) no neighbour discovery is needed.

    `router` is the link-local address that the MAG has there for this MN, where it is not the same for all.
    """

    interface: str
    mn_ll_id: bytes | None
    router: IPv6Address | None = None


Downlink = Drop | ToPeer | ToAccess


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How the packets of one mobility session flow.

    `held`: what arrives for the prefixes is kept in the kernel; when a later Forwarding of the session is not held, the
    kept packets go out in order, by the route that is then in place, and only then new ones.

    At an LMA: uplink is accepted from the tunnel that the downlink points to, from the tunnels of `uplink_from`, and
    from nobody else. `returned_from` is the MAG that sends back what found the MN gone: while the downlink still points
    to it such packets are kept apart, else they go out by the new route as they come, before what is held.

    At a MAG: `uplink_to` is the LMA into whose tunnel goes what the MN's prefixes are the source of. `give_back`: when
    the access link has lost its carrier, the kernel sends downlink packets back into that tunnel by itself. Downlink
    comes from the LMA, and from the MAGs of `downlink_from`. A MAG may send the downlink on to another one: then uplink
    is accepted from the tunnels of `uplink_from` and from the access link `still_on`. `direct`: other MNs of this MAG
    reach the MN without a tunnel (RFC 5213 section 6.10.3), while nothing is held for it.
    """

    downlink: Downlink = Drop()
    held: bool = False
    uplink_from: frozenset[IPv6Address] = frozenset()
    returned_from: IPv6Address | None = None
    uplink_to: IPv6Address | None = None
    give_back: bool = False
    downlink_from: frozenset[IPv6Address] = frozenset()
    still_on: str | None = None
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a peer."""

    destination: IPv6Address
    message: Message


@dataclass(frozen=True, slots=True)
class Forward:
    """Make the kernel forward these prefixes so; None removes every trace of them."""

    mn_id: MnId
    hnps: tuple[IPv6Network, ...]
    forwarding: Forwarding | None


@dataclass(frozen=True, slots=True)
class Advertise:
    """Send the MN a unicast Router Advertisement (RFC 5213 section 6.9.3). Lifetimes in seconds, MTU in octets.

    The prefixes `withdrawn` are not the MN's any more (section 6.12): their lifetime is 0. `router` as in ToAccess.
    """

    interface: str
    mn_ll_id: bytes | None
    hnps: tuple[IPv6Network, ...]
    lifetime: int
    mtu: int
    withdrawn: tuple[IPv6Network, ...] = ()
    router: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Solicit:
    """Ask the MN for a sign of life: Neighbor Solicitations, unicast, for what are or may be addresses of its.

    RFC 4861 section 7.3.3, RFC 5213 section 6.13. Who answers is reported as heard from. `router` as in ToAccess.
    """

    interface: str
    mn_ll_id: bytes
    addresses: tuple[IPv6Address, ...]
    router: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator would want to see: counted under `event`, logged, written to the journal.

    What repeats what was logged before is counted only: `logged` is False.
    """

    event: str
    mn_id: MnId | None = None
    peer: IPv6Address | None = None
    detail: str = ""
    logged: bool = True


@dataclass(frozen=True, slots=True)
class HoldUplink:
    """At a MAG, what arrives on an access link from sources without a path: keep it until a path for it is there.

    With `keep` False what was kept is dropped and counted, and what comes from now on is dropped as it comes.
    """

    interface: str
    keep: bool


Action = Send | Forward | Advertise | Solicit | HoldUplink | Note

UNRECOGNIZED_MH_TYPE = 2  # status of a Binding Error, RFC 6275 section 6.1.9


def unexpected(source: IPv6Address, message: Message) -> list[Action]:
    """What a core says to a message that its scheme has no use for: the peer learns that it is not spoken here."""
    if isinstance(message, BindingError):
        return [Note(f"unexpected-{message.name}", peer=source, detail=f"status {message.status}")]
    mn_id = getattr(message, "mn_id", None)
    error = BindingError(status=UNRECOGNIZED_MH_TYPE)
    return [Note(f"unexpected-{message.name}", mn_id, source), Send(source, error)]
