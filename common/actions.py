"""Everything a core may ask its shell for.

A core never acts: it returns these values, in the order in which they are to be carried out. `common/daemon.py`
carries them out; the tests compare them.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from common.mh.messages import Message, MnId


@dataclass(frozen=True, slots=True)
class Drop:
    """Downlink: what arrives for the prefixes is dropped in the kernel."""


@dataclass(frozen=True, slots=True)
class ToPeer:
    """Downlink: through the tunnel to this MAG."""

    peer: IPv6Address


@dataclass(frozen=True, slots=True)
class ToAccess:
    """Downlink: out of this access interface; with `mn_ll_id` (a MAC address) no neighbour discovery is needed."""

    interface: str
    mn_ll_id: bytes | None


Downlink = Drop | ToPeer | ToAccess


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How the packets of one mobility session flow.

    `uplink_to` is the LMA into whose tunnel a MAG sends what the MN's prefixes are the source of. An LMA needs no such
    word: it accepts uplink from the tunnel that the best route of the source points to, and from nobody else.
    """

    downlink: Downlink = Drop()
    uplink_to: IPv6Address | None = None


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
    """Send the MN a unicast Router Advertisement (RFC 5213 section 6.9.3). Lifetimes in seconds, MTU in octets."""

    interface: str
    mn_ll_id: bytes | None
    hnps: tuple[IPv6Network, ...]
    lifetime: int
    mtu: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator would want to see: counted under `event`, logged, written to the journal."""

    event: str
    mn_id: MnId | None = None
    peer: IPv6Address | None = None
    detail: str = ""


Action = Send | Forward | Advertise | Note
