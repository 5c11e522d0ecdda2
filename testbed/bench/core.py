"""What lmad's core and codec do in a second, on one core, without a kernel.

Counted is the processor time of what the anchor does: decode, decide, encode the answers, ask for the next deadline.
What the MAGs say is encoded beforehand and is theirs to pay for.
"""

import gc
import resource
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from itertools import cycle, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Protocol

from common.actions import Action, Send
from common.garbage import Garbage
from common.mh.bodies import body_of
from common.mh.codec import decode, encode
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextData,
    ContextReflectionAck,
    FastProxyBindingUpdate,
    Feature,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    RevocationStatus,
    Status,
    Timestamp,
    UpdateFlag,
)
from lmad.config import Lma, LmadConfig, Mag, MobileNode
from lmad.lma import LocalMobilityAnchor
from testbed.bench.row import Row

LMAA = IPv6Address("2001:db8:0:ff::1")
MAGS = (IPv6Address("2001:db8:0:1::1"), IPv6Address("2001:db8:0:2::1"))
POOL = IPv6Network("2001:db8:1000::/36")
HANDOVERS_PER_S_GOAL = 5000.0
CODEC_PAIRS_PER_S_GOAL = 10000.0
FLAT_GOAL = 1.1
RESIDENT = (100, 10_000, 100_000)
# Short rounds, and the best of many counts: what else the machine runs takes caches and half of the core away, and that
# is counted as ours.
MOVERS = 20
ROUNDS = 200
PAIRS_A_ROUND = 100


class Said(NamedTuple):
    """What a MAG says; the anchor sends so many messages for it, not all of them to that MAG."""

    mag: IPv6Address
    message: Message
    answers: int


Script = Generator[Said, list[Message], None]


def codec() -> Iterator[Row]:
    """Encode and decode of a PBU with every option of RFC 5213."""
    pbu = replace(
        registration(1, 1.0, 1),
        link_local=IPv6Address("fe80::1"),
        alternate_coa=MAGS[0],
        hnps=(IPv6Network("2001:db8:1000::/64"),),
    )

    def pairs() -> None:
        for _ in range(PAIRS_A_ROUND):
            decode(encode(pbu))

    with garbage_as_in_the_daemons():
        took_s = min(processor_seconds(pairs) for _ in range(ROUNDS))
    yield Row("codec-pbu", PAIRS_A_ROUND / took_s, "encode+decode/s", CODEC_PAIRS_PER_S_GOAL)


def handovers() -> Iterator[Row]:
    """Whole handovers at the LMA through codec and core, of the same number of MNs among ever more bindings.

    They are measured in turns, so that what else the machine does meets all of them.
    """
    for scheme in SCRIPTS:
        movers = [Movers(anchor(scheme, resident), scheme, resident) for resident in RESIDENT]
        times: list[list[float]] = [[] for _ in movers]
        with garbage_as_in_the_daemons():
            for mover in movers:
                mover.hand_over()
            for _ in range(ROUNDS):
                for mover, took in zip(movers, times, strict=True):
                    took.append(mover.hand_over())
        for resident, took in zip(RESIDENT, times, strict=True):
            rate = MOVERS / min(took)
            yield Row(f"handovers-{scheme}-{resident}-bindings", rate, "handovers/s", HANDOVERS_PER_S_GOAL)
        growth = min(times[-1]) / min(times[0])
        yield Row(f"handover-cost-{scheme}-{RESIDENT[-1]}-against-{RESIDENT[0]}-bindings", growth, "", FLAT_GOAL, False)


def memory() -> Iterator[Row]:
    """What a binding takes, in a process of its own: its memory is nobody's from before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        octets = process.submit(_octets_a_binding).result()
    yield Row("memory-a-binding", octets, "octets", None, False)


def _octets_a_binding() -> float:
    lma = anchor("pmipv6", 0, RESIDENT[-1])
    gc.collect()
    before = _resident_octets()
    register(lma, RESIDENT[-1])
    gc.collect()
    return (_resident_octets() - before) / RESIDENT[-1]


def _resident_octets() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Anchor(Protocol):
    """What a LocalMobilityAnchor is to those who move MNs."""

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]: ...
    def deadline(self) -> float | None: ...


class Movers:
    """MNs of an anchor with so many bindings, spread evenly over them, who move between two MAGs at the same time."""

    def __init__(self, lma: Anchor, scheme: str, resident: int) -> None:
        self._lma = lma
        self._script = SCRIPTS[scheme]
        self._numbers = range(1, resident + 1, max(1, resident // MOVERS))[:MOVERS]
        self._ways = cycle(pairwise((*MAGS, MAGS[0])))
        self._now = 1000.0

    def hand_over(self) -> float:
        """All of them; the anchor's processor time in seconds."""
        pmag, nmag = next(self._ways)
        took_s = 0.0
        self._now += 1.0
        scripts = [self._script(number, pmag, nmag, self._now) for number in self._numbers]
        said = [next(script) for script in scripts]
        while said:
            heard = [(each.mag, encode(each.message)) for each in said]
            began = time.process_time()
            answers = [self._serve(source, octets) for source, octets in heard]
            took_s += time.process_time() - began
            assert [len(each) for each in answers] == [each.answers for each in said]  # a refusal is no handover
            talks = zip(scripts, answers, strict=True)
            going_on = [(script, step) for script, answer in talks if (step := _next(script, answer))]
            scripts, said = [script for script, _ in going_on], [step for _, step in going_on]
        return took_s

    def _serve(self, source: IPv6Address, octets: bytes) -> list[Message]:
        actions = self._lma.receive(source, decode(octets), self._now)
        answers = [action.message for action in actions if isinstance(action, Send)]
        for answer in answers:
            encode(answer)
        self._lma.deadline()
        return answers


def _next(script: Script, answers: list[Message]) -> Said | None:
    try:
        return script.send(answers)
    except StopIteration:
        return None


def _pmipv6(number: int, pmag: IPv6Address, nmag: IPv6Address, now: float) -> Script:
    """pMAG's de-registration and nMAG's registration."""
    yield Said(pmag, registration(number, now, 1, lifetime=0), 1)
    yield Said(nmag, registration(number, now + 0.1, 2), 1)


def _fpmipv6(number: int, _pmag: IPv6Address, nmag: IPv6Address, now: float) -> Script:
    """All that the LMA hears of it is nMAG's registration."""
    yield Said(nmag, registration(number, now, 1), 1)


def _fast_handover(number: int, pmag: IPv6Address, nmag: IPv6Address, now: float) -> Script:
    """pMAG's Fast PBU, nMAG's answer to the Reverse PBU, and its registration."""
    fast = FastProxyBindingUpdate(**body_of(registration(number, now, 1)), nmag=nmag)
    yield Said(pmag, fast, 2)
    known = ReverseProxyBindingAck(status=Status.ACCEPTED, sequence=1, lifetime=fast.lifetime, mn_id=fast.mn_id)
    yield Said(nmag, known, 0)
    yield Said(nmag, registration(number, now + 0.1, 2), 1)


def _context_reflector(number: int, pmag: IPv6Address, nmag: IPv6Address, now: float) -> Script:
    """pMAG's de-registration with a context, its end marker, nMAG's registration, pMAG's BRA."""
    leave = registration(number, now, 1, lifetime=0)
    pieces = (ContextData(Feature.NMAG_ADDRESS, nmag.packed), ContextData(Feature.FIRST_LOCAL, bytes(64)))
    yield Said(pmag, replace(leave, flags=leave.flags | UpdateFlag.CONTEXT, contexts=pieces), 2)
    marker = ContextReflectionAck(status=Status.ACCEPTED, sequence=1, lifetime=10.0, mn_id=leave.mn_id)
    yield Said(pmag, marker, 0)
    answers = yield Said(nmag, registration(number, now + 0.1, 2), 2)
    bri = next(answer for answer in answers if isinstance(answer, BindingRevocationIndication))
    closed = BindingRevocationAck(status=RevocationStatus.SUCCESS, sequence=bri.sequence, mn_id=bri.mn_id)
    yield Said(pmag, closed, 0)


SCRIPTS: dict[str, Callable[[int, IPv6Address, IPv6Address, float], Script]] = {
    "pmipv6": _pmipv6,
    "context-reflector": _context_reflector,
    "fpmipv6": _fpmipv6,
    "fast-handover": _fast_handover,
}


def anchor(scheme: str, resident: int, known: int = 0) -> LocalMobilityAnchor:
    """With so many bindings, of MNs of which at least `known` are subscribers."""
    config = LmadConfig(
        lma=Lma(address=LMAA, scheme=scheme, prefix_pools=(POOL,)),
        mag=tuple(Mag(address=mag) for mag in MAGS),
        mobile_node=tuple(MobileNode(mn_id=str(mn_id(number))) for number in range(1, max(resident, known) + 1)),
    )
    lma = LocalMobilityAnchor(config, lambda now: now)
    register(lma, resident)
    return lma


def register(lma: LocalMobilityAnchor, count: int) -> None:
    """The first so many MNs come to the first MAG, as the anchor would hear of it."""
    for number in range(1, count + 1):
        lma.receive(MAGS[0], decode(encode(registration(number, 1.0, 0))), 1.0)
    assert len(lma.binding_cache) == count


def registration(number: int, now: float, sequence: int, lifetime: int = 65532) -> ProxyBindingUpdate:
    return ProxyBindingUpdate(
        sequence=sequence,
        lifetime=lifetime,
        mn_id=mn_id(number),
        hnps=(ALL_ZERO_PREFIX,),
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=number.to_bytes(6),
        timestamp=Timestamp.from_utc(now),
    )


def mn_id(number: int) -> MnId:
    return MnId.nai(f"mn{number}@example.net")


def processor_seconds(work: Callable[[], object]) -> float:
    """Of this process: what else runs on the machine is not counted."""
    began = time.process_time()
    work()
    return time.process_time() - began


@contextmanager
def garbage_as_in_the_daemons() -> Iterator[Garbage]:
    """What lives now is never searched for unreachable cycles, the rest when it is asked for."""
    try:
        yield Garbage(time.monotonic())
    finally:
        gc.enable()
        gc.unfreeze()
