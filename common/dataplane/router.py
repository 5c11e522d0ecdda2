"""What a mobile node sees of its router: the same on every access link of every MAG (RFC 5213 section 6.9.3)."""

from dataclasses import dataclass
from ipaddress import IPv6Address

# Reserved for that by RFC 6543.
MAG_MAC = "00:00:5e:00:52:13"
MAG_LINK_LOCAL = IPv6Address("fe80::200:5eff:fe00:5213")


@dataclass(frozen=True, slots=True)
class RouterAddresses:
    """`mac` None: each access link keeps its own. `link_local` None: each MN is told another by its LMA."""

    mac: str | None = MAG_MAC
    link_local: IPv6Address | None = MAG_LINK_LOCAL


RESERVED = RouterAddresses()
