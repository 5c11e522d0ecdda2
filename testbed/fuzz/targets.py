"""A daemon without sockets and kernel: its shell, codec and core as they are, fed with octets as if they had come."""

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from common.actions import Forward, Note
from common.config import LinkLayerId
from common.daemon import Shell, utc
from common.dataplane.interface import Readable
from common.dataplane.paths import Paths
from common.errors import DataPlaneError
from common.journal import Journal
from common.mh.messages import MnId, Timestamp
from lmad import config as lmad_config
from lmad.lma import LocalMobilityAnchor
from magd import config as magd_config
from magd.mag import MobileAccessGateway

LMAA = IPv6Address("2001:db8:0:ff::1")
MAGS = tuple(IPv6Address(f"2001:db8:0:{number}::1") for number in range(1, 4))
STRANGER = IPv6Address("2001:db8:bad::1")
POOL = IPv6Network("2001:db8:1000::/52")
SUBSCRIBERS = 20
INTERFACE = "lo"  # one that every machine has
PROTOCOL = 213


@dataclass
class SmallWorld:
    """Some MNs that are known and some that are not, some prefixes, the nodes of the domain and a stranger."""

    chance: random.Random
    mn_ids: Sequence[MnId] = tuple(MnId.nai(f"mn{number}@example.net") for number in range(SUBSCRIBERS + 4))
    hnps: Sequence[IPv6Network] = (*list(POOL.subnets(new_prefix=64))[:24], IPv6Network("2001:db8:2000::/56"))
    addresses: Sequence[IPv6Address] = (LMAA, *MAGS, STRANGER, IPv6Address("::"), IPv6Address("fe80::1"))
    ll_ids: Sequence[bytes] = tuple(bytes((2, 0, 0, 0, 0, number)) for number in range(SUBSCRIBERS + 4))

    def timestamp(self) -> Timestamp:
        return Timestamp.from_utc(time.time() + self.chance.choice((0.0, 0.0, 0.0, -0.2, 0.2, 3600.0)))

    def sequence(self) -> int:
        return self.chance.choice((0, 1, 2, 3, 65535, self.chance.randrange(1 << 16)))


@dataclass
class Octets:
    """A socket that has what it is given, and takes what is sent; the latest of that is kept."""

    arrived: deque[tuple[bytes, tuple[str, int]]] = field(default_factory=deque)
    sent: int = 0
    latest: deque[tuple[bytes, str]] = field(default_factory=lambda: deque(maxlen=32))

    def recvmsg(self, _size: int, _room: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, tuple[str, int]]:
        if not self.arrived:
            raise BlockingIOError
        data, address = self.arrived.popleft()
        return data, [], 0, address  # of when it came nothing is said: now

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        self.sent += 1
        self.latest.append((data, address[0]))


class PretendedKernel:
    """Makes the netlink messages that a kernel would get; refuses some of them, as a kernel may."""

    def __init__(self, chance: random.Random, peers: Iterable[IPv6Address]) -> None:
        self._chance = chance
        indexes = {peer: number for number, peer in enumerate(peers, 1)}
        self._paths = Paths(PROTOCOL, indexes, indexes)
        self.has: dict[tuple[IPv6Network, ...], Forward] = {}
        self.notes: deque[Note] = deque()

    def start(self, _local: IPv6Address, _peers: Iterable[IPv6Address]) -> None: ...

    def apply(self, forward: Forward) -> None:
        before = self.has.pop(forward.hnps, None)
        if forward.forwarding is None:
            return
        if self._chance.random() < 0.01:
            raise DataPlaneError("refused, to see what comes of it")
        for hnp in forward.hnps:
            self._paths.additions(hnp, before.forwarding if before else None, forward.forwarding)
        self.has[forward.hnps] = forward

    def hold_uplink(self, _interface: str, _keep: bool) -> None: ...
    def sockets(self) -> Sequence[tuple[Readable, Callable[[], None]]]:
        return []

    def deadline(self) -> float | None:
        return None

    def expire(self, _now: float) -> None: ...
    def holds(self) -> list[dict[str, object]]:
        return []

    def drops(self) -> dict[str, int]:
        return {}

    def close(self) -> None: ...


@dataclass
class Target:
    """`stir` lets something else happen, as it does around messages: MNs that come and go, bindings that end."""

    name: str
    shell: Shell
    octets: Octets
    world: SmallWorld
    sources: Sequence[IPv6Address]
    stir: Callable[[float], None]
    entries: Callable[[], int]


def lmad(chance: random.Random, scheme: str) -> Target:
    peers = MAGS
    config = lmad_config.LmadConfig(
        lma=lmad_config.Lma(address=LMAA, prefix_pools=(POOL,), scheme=scheme),
        mag=tuple(lmad_config.Mag(address=mag) for mag in MAGS),
        mobile_node=tuple(lmad_config.MobileNode(mn_id=f"mn{number}@example.net") for number in range(SUBSCRIBERS)),
    )
    core = LocalMobilityAnchor(config, utc)
    shell, octets = _shell(chance, core, peers)
    return Target(
        f"lmad {scheme}",
        shell,
        octets,
        SmallWorld(chance),
        (*MAGS, STRANGER),
        lambda now: shell.feed(core.expire(now + 20.0)),
        lambda: len(core.binding_cache),
    )


def magd(chance: random.Random, scheme: str) -> Target:
    world = SmallWorld(chance)
    config = magd_config.MagdConfig(
        mag=magd_config.Mag(
            address=MAGS[0],
            lma=LMAA,
            access_interfaces=(INTERFACE,),
            scheme=scheme,
        ),
        fpmipv6=magd_config.Fpmipv6(peers=MAGS[1:]),
        mobile_node=tuple(
            magd_config.MobileNode(mn_id=str(mn_id), ll_id=LinkLayerId(ll_id))
            for mn_id, ll_id in list(zip(world.mn_ids, world.ll_ids, strict=True))[:SUBSCRIBERS]
        ),
    )
    core = MobileAccessGateway(config, utc)
    shell, octets = _shell(chance, core, (LMAA, *MAGS))

    def stir(now: float) -> None:
        mn_id = chance.choice(world.mn_ids)
        match chance.randrange(6):
            case 0 | 1:
                shell.feed(core.attached(mn_id, INTERFACE, now, chance.choice((None, *MAGS))))
            case 2:
                shell.feed(core.detached(mn_id, now))
            case 3:
                shell.feed(core.handover(mn_id, chance.choice((None, *MAGS)), now))
            case 4:
                shell.feed(core.solicited(INTERFACE, chance.choice(world.ll_ids), True, now))
            case _:
                shell.feed(core.expire(now + 20.0))

    sources = (LMAA, LMAA, LMAA, *MAGS[1:], STRANGER)
    return Target(f"magd {scheme}", shell, octets, world, sources, stir, lambda: len(core.binding_update_list))


def _shell(chance: random.Random, core: Any, peers: Iterable[IPv6Address]) -> tuple[Shell, Octets]:
    octets = Octets()
    journal = Journal(Path("/dev/null"))
    kernel = PretendedKernel(chance, peers)
    shell = Shell(core, kernel, octets, journal, lambda _: None, solicit=lambda _: None)  # type: ignore[arg-type]
    return shell, octets
