"""What the lab consists of: nodes, wires, addresses, delays. Data only; `network.py` makes it real.

    mn ~~ air ~~ mag1 == lma -- inet -- cn        ~~ access link, == core link with half the RTT each way
            \\~~ mag2 ==/

Two MAGs reach each other through the core, where the LMA is, one whole RTT away each way: lines between access routers
are uncommon (the paper's section 3.1.1).

Every MN has an access link of its own to every MAG (RFC 5213 section 6.3: point to point), of which one has carrier.
The hidden node `air` joins the links of one MN in a bridge; taking a port down there is the MN leaving that MAG.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from itertools import count
from typing import Self

LMAA = IPv6Address("2001:db8:0:ff::1")
HNP_POOL = IPv6Network("2001:db8:1000::/36")
_FIXED_PREFIXES = IPv6Network("2001:db8:1fff::/48")  # of the pool: those that belong to an MN for good
AIR = "air"
WIRE = "wire"  # the hidden node that impairs signalling
MAX_PREFIXES = 8
MAX_MAGS = 254  # the third group of a MAG's address is its number, 0xff is the LMA's
MAX_MNS = 999  # so that a bridge port's name, mn999-mag254, stays below the kernel's 16 octets

_FORWARDING = {"net/ipv6/conf/all/forwarding": "1"}
# On a wire between two nodes whose addresses are given here there is no duplicate to detect; the link-local addresses
# that routers ask for their neighbours with are usable at once. Not on a MAG: its access links are magd's to set up.
_NO_DAD = {"net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0"}
# A namespace that only switches frames: no address, no neighbour discovery, no listener reports of its own.
_NO_IPV6 = {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}
# What a Linux host does by itself, said aloud because a namespace may inherit other defaults from the machine:
# an address by SLAAC from the MAC (so that it is known and stays), duplicate address detection with its one probe.
_HOST = {
    f"net/ipv6/conf/{scope}/{name}": value
    for scope in ("all", "default")
    for name, value in {
        "forwarding": "0",
        "accept_ra": "1",
        "autoconf": "1",
        "addr_gen_mode": "0",
        "use_tempaddr": "0",
        "accept_dad": "1",
        "dad_transmits": "1",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Impairment:
    """Probabilities, 0 to 1, of what happens to a signalling message on a core link."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """`loss=10%,duplicate=5%,reorder=5%`, any of them. Raises ValueError with the reason."""
        values: dict[str, float] = {}
        for item in text.split(","):
            name, _, percent = item.strip().partition("=")
            if name not in cls.__slots__ or name in values:
                raise ValueError(f"impairment {item!r} is not one of loss=, duplicate=, reorder=, each once")
            try:
                values[name] = float(percent.removesuffix("%")) / 100
            except ValueError:
                raise ValueError(f"impairment {item!r} needs a percentage, as in {name}=5%") from None
            if not 0 <= values[name] <= 1:
                raise ValueError(f"impairment {item!r} is not between 0% and 100%")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Egress:
    """What an end of a link does to the packets that leave by it. Signalling is next header 135 (RFC 6275 6.1.1)."""

    delay_s: float = 0.0
    signalling_delay_s: float = 0.0
    impairment: Impairment | None = None  # of signalling

    @classmethod
    def delay(cls, delay_s: float) -> Self:
        return cls(delay_s, delay_s)


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: an interface. No two ends in a lab share an `index`.

    The kernel defers a carrier event by up to a second unless the interface's index differs from its peer's.
    """

    node: str
    interface: str
    index: int
    address: IPv6Interface | None = None
    mac: str | None = None
    egress: Egress = Egress()
    up: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair."""

    a: End
    b: End


@dataclass(frozen=True, slots=True)
class Bridge:
    """Joins interfaces of one node; every frame goes to every other port that is up, nothing is learnt."""

    node: str
    name: str
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A namespace. `routes` are what follows `ip -6 route add`; `addresses` are on the loopback interface."""

    name: str
    sysctls: dict[str, str] = field(default_factory=dict)
    addresses: tuple[IPv6Interface, ...] = ()
    routes: tuple[str, ...] = ()
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class MobileNode:
    """What the lab knows of an MN: node name, MN-ID, MAC of its one interface."""

    name: str
    mn_id: str
    mac: str
    interface: str = "eth0"

    def fixed_prefixes(self, count: int) -> tuple[IPv6Network, ...]:
        """Home network prefixes of its own, which no other MN ever gets."""
        number = int(self.mac.replace(":", "")[-4:], 16)
        first = int(_FIXED_PREFIXES.network_address) + (MAX_PREFIXES * number << 64)
        return tuple(IPv6Network((first + (place << 64), 64)) for place in range(count))

    @property
    def access_interface(self) -> str:
        """The interface of every MAG on this MN's link."""
        return f"acc-{self.name}"


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. `addresses` has the one address by which each fixed node is known: LMAA, Proxy-CoAs, CN."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    bridges: tuple[Bridge, ...]
    addresses: dict[str, IPv6Address]
    mags: tuple[str, ...]
    mns: tuple[MobileNode, ...]
    rtt_s: float

    def mn(self, name: str) -> MobileNode:
        return next(mn for mn in self.mns if mn.name == name)

    def ends(self) -> Iterator[End]:
        for link in self.links:
            yield from (link.a, link.b)

    def ends_of(self, node: str) -> Iterator[End]:
        return (end for end in self.ends() if end.node == node)

    def access_port(self, mn: str, mag: str) -> End:
        """The end in the air of the MN's link to that MAG: up means that the MN is there."""
        return next(end for end in self.ends_of(AIR) if end.interface == f"{mn}-{mag}")


def build(mags: int = 2, mns: int = 1, rtt_s: float = 0.010, impairment: Impairment | None = None) -> Topology:
    """A lab of `mags` access routers and `mns` mobile nodes. Raises ValueError for one that cannot be."""
    if not 1 <= mags <= MAX_MAGS or not 1 <= mns <= MAX_MNS:
        raise ValueError(f"a lab has 1 to {MAX_MAGS} MAGs and 1 to {MAX_MNS} MNs")
    if impairment and impairment.reorder and not rtt_s:
        raise ValueError("messages can only be reordered where there is a delay: give an RTT above 0")
    mag_names = tuple(f"mag{number}" for number in range(1, mags + 1))
    mobile_nodes = tuple(_mobile_node(number, mns) for number in range(1, mns + 1))
    index = count(100)  # above the tunnel devices that the kernel may give to every new namespace
    wired, wires = _wired_links(index, mag_names, rtt_s / 2, impairment)
    access, cells = _access_links(index, mag_names, mobile_nodes)
    return Topology(
        nodes=(*_fixed_nodes(mag_names), *_mobile(mobile_nodes), *_hidden_nodes(impairment)),
        links=(*wired, *access),
        bridges=(*wires, *cells),
        addresses={
            "lma": LMAA,
            "inet": IPv6Address("2001:db8:cc::1"),
            "cn": IPv6Address("2001:db8:cc::2"),
            **{mag: IPv6Address(f"2001:db8:0:{number:x}::1") for number, mag in enumerate(mag_names, 1)},
        },
        mags=mag_names,
        mns=mobile_nodes,
        rtt_s=rtt_s,
    )


def _mobile_node(number: int, mns: int) -> MobileNode:
    name = "mn" if mns == 1 else f"mn{number}"
    return MobileNode(name, f"mn{number}@example.net", f"02:00:00:00:{number >> 8:02x}:{number & 0xFF:02x}")


def _fixed_nodes(mags: tuple[str, ...]) -> Iterator[Node]:
    yield Node(
        "lma",
        _FORWARDING | _NO_DAD,
        addresses=(IPv6Interface(LMAA),),
        # What no MN has must not circle between this default route and the router that sends the whole pool here.
        routes=("default via 2001:db8:ee::1", f"blackhole {HNP_POOL}"),
    )
    for number, mag in enumerate(mags, 1):
        # The LMA and the other MAGs, by way of the core where the LMA is, are all a MAG can reach: a packet that
        # escapes the tunnels dies instead of arriving all the same.
        others = (f"2001:db8:0:{other:x}::1" for other in range(1, len(mags) + 1) if other != number)
        via = f"via 2001:db8:0:{number:x}::ff src 2001:db8:0:{number:x}::1"
        yield Node(mag, _FORWARDING, routes=tuple(f"{address} {via}" for address in (LMAA, *others)))
    yield Node("inet", _FORWARDING | _NO_DAD, routes=(f"{HNP_POOL} via 2001:db8:ee::2",))
    yield Node("cn", _NO_DAD, routes=("default via 2001:db8:cc::1",))


def _mobile(mns: tuple[MobileNode, ...]) -> Iterator[Node]:
    return (Node(mn.name, _HOST) for mn in mns)


def _hidden_nodes(impairment: Impairment | None) -> Iterator[Node]:
    yield Node(AIR, _NO_IPV6, hidden=True)
    if impairment:
        yield Node(WIRE, _NO_IPV6, hidden=True)


def _wired_links(
    index: Iterator[int], mags: tuple[str, ...], delay_s: float, impairment: Impairment | None
) -> tuple[list[Link], list[Bridge]]:
    def end(node: str, interface: str, address: str | None = None, egress: Egress = Egress()) -> End:
        return End(node, interface, next(index), IPv6Interface(address) if address else None, egress=egress)

    links = [
        Link(end("cn", "eth0", "2001:db8:cc::2/64"), end("inet", "cn", "2001:db8:cc::1/64")),
        Link(end("inet", "lma", "2001:db8:ee::1/64"), end("lma", "inet", "2001:db8:ee::2/64")),
    ]
    bridges = []
    # A second netem beside one that duplicates is refused by the kernel (CVE-2025-38001). So signalling that is to be
    # impaired passes the ends undelayed and gets its delay and its mishaps in the middle of the wire, data the reverse.
    delay = Egress(delay_s, 0.0) if impairment else Egress.delay(delay_s)
    for number, mag in enumerate(mags, 1):
        lma_end = end("lma", mag, f"2001:db8:0:{number:x}::ff/64", delay)
        mag_end = end(mag, "core", f"2001:db8:0:{number:x}::1/64", delay)
        if impairment:
            mishaps = Egress(0.0, delay_s, impairment)
            to_lma, to_mag = end(WIRE, f"{mag}-lma", egress=mishaps), end(WIRE, f"{mag}-mag", egress=mishaps)
            links += [Link(lma_end, to_lma), Link(to_mag, mag_end)]
            bridges.append(Bridge(WIRE, f"wire-{mag}", (to_lma.interface, to_mag.interface)))
        else:
            links.append(Link(lma_end, mag_end))
    return links, bridges


def _access_links(
    index: Iterator[int], mags: tuple[str, ...], mns: tuple[MobileNode, ...]
) -> tuple[list[Link], list[Bridge]]:
    links, bridges = [], []
    for mn in mns:
        own = Link(End(mn.name, mn.interface, next(index), mac=mn.mac), End(AIR, mn.name, next(index)))
        # Without carrier at first: the port is down.
        cells = [
            Link(End(mag, mn.access_interface, next(index)), End(AIR, f"{mn.name}-{mag}", next(index), up=False))
            for mag in mags
        ]
        links += [own, *cells]
        bridges.append(Bridge(AIR, f"air-{mn.name}", (mn.name, *(cell.b.interface for cell in cells))))
    return links, bridges
