"""What lmad's core and codec do in a second, on one core, without a kernel."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol

from common.actions import Action, Send
from common.mh.codec import decode, encode
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextData,
    ContextReflectionAck,
    Feature,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingUpdate,
    RevocationStatus,
    Status,
    Timestamp,
    UpdateFlag,
)
from lmad.config import Lma, LmadConfig, Mag, MobileNode
from lmad.lma import LocalMobilityAnchor
from testbed.bench_row import Row

LMAA = IPv6Address("2001:db8:0:ff::1")
MAGS = (IPv6Address("2001:db8:0:1::1"), IPv6Address("2001:db8:0:2::1"))
HANDOVERS_PER_S_GOAL = 5000.0
CODEC_PAIRS_PER_S_GOAL = 10000.0
MIN_TIME_S = 2.0


def codec() -> Iterator[Row]:
    """Encode and decode of a PBU with every option of RFC 5213."""
    pbu = replace(
        _pbu(1, 1.0),
        link_local=IPv6Address("fe80::1"),
        alternate_coa=MAGS[0],
        hnps=(IPv6Network("2001:db8:1000::/64"),),
    )
    done, took = _repeat(lambda _: decode(encode(pbu)))
    yield Row("codec-pbu", done / took, "encode+decode/s", CODEC_PAIRS_PER_S_GOAL)


def handovers() -> Iterator[Row]:
    """Whole handovers at the LMA through codec and core, with other bindings resident."""
    for scheme in ("pmipv6", "context-reflector"):
        for resident in (100, 10_000, 100_000):
            lma = anchor(scheme, resident)
            mover = Mover(lma, scheme == "context-reflector")
            done, took = _repeat(mover.hand_over)
            yield Row(f"handovers-{scheme}-{resident}-bindings", done / took, "handovers/s", HANDOVERS_PER_S_GOAL)


class Anchor(Protocol):
    """What a LocalMobilityAnchor is to those who move MNs."""

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]: ...


class Mover:
    """Moves MN 1 between two MAGs, octets in and octets out."""

    def __init__(self, lma: Anchor, with_context: bool) -> None:
        self._lma = lma
        self._with_context = with_context
        self._now = 1000.0

    def hand_over(self, number: int) -> None:
        """pMAG's de-registration, the end marker, nMAG's registration and pMAG's BRA; every answer is encoded."""
        pmag, nmag = MAGS[number % 2], MAGS[(number + 1) % 2]
        self._now += 0.01
        leave = _pbu(1, self._now, lifetime=0, sequence=2 * number % 65536)
        if self._with_context:
            pieces = (ContextData(Feature.NMAG_ADDRESS, nmag.packed), ContextData(Feature.FIRST_LOCAL, bytes(64)))
            leave = replace(leave, flags=leave.flags | UpdateFlag.CONTEXT, contexts=pieces)
        self._say(pmag, leave)
        if self._with_context:
            marker = ContextReflectionAck(
                status=Status.ACCEPTED, sequence=leave.sequence, lifetime=10.0, mn_id=leave.mn_id
            )
            self._say(pmag, marker)
        self._now += 0.01
        for answer in self._say(nmag, _pbu(1, self._now, sequence=(2 * number + 1) % 65536)):
            if isinstance(answer, BindingRevocationIndication):
                self._say(
                    pmag,
                    BindingRevocationAck(status=RevocationStatus.SUCCESS, sequence=answer.sequence, mn_id=answer.mn_id),
                )

    def _say(self, mag: IPv6Address, message: Message) -> list[Message]:
        actions = self._lma.receive(mag, decode(encode(message)), self._now)
        answers = [action.message for action in actions if isinstance(action, Send)]
        for answer in answers:
            encode(answer)
        return answers


def anchor(scheme: str, resident: int, known: int = 0) -> LocalMobilityAnchor:
    """With so many bindings, of MNs of which at least `known` are subscribers."""
    config = LmadConfig(
        lma=Lma(address=LMAA, scheme=scheme, prefix_pools=(IPv6Network("2001:db8:1000::/36"),)),
        mag=tuple(Mag(address=mag) for mag in MAGS),
        mobile_node=tuple(MobileNode(mn_id=str(_mn_id(number))) for number in range(1, max(resident, known) + 1)),
    )
    lma = LocalMobilityAnchor(config, lambda now: now)
    for number in range(1, resident + 1):
        lma.receive(MAGS[0], _pbu(number, 1.0), 1.0)
    assert len(lma.binding_cache) == resident
    return lma


def _pbu(number: int, now: float, lifetime: int = 65532, sequence: int = 0) -> ProxyBindingUpdate:
    return ProxyBindingUpdate(
        sequence=sequence,
        lifetime=lifetime,
        mn_id=_mn_id(number),
        hnps=(ALL_ZERO_PREFIX,),
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=number.to_bytes(6),
        timestamp=Timestamp.from_utc(now),
    )


def _mn_id(number: int) -> MnId:
    return MnId.nai(f"mn{number}@example.net")


def _repeat(work: Callable[[int], object]) -> tuple[int, float]:
    """How often it could be done, and in how many seconds."""
    for number in range(100):
        work(number)
    start, done = time.perf_counter(), 100
    while (took := time.perf_counter() - start) < MIN_TIME_S:
        for _ in range(50):
            work(done)
            done += 1
    return done - 100, took
