"""Contexts on their way from pMAG to nMAG, between pure cores in virtual time: of any size, broken, refused."""

import random
from dataclasses import replace
from ipaddress import IPv6Address

import msgspec
import pytest

from common.actions import Note, Send
from common.mh.messages import (
    AccessTechnologyType,
    ContextContinuation,
    ContextData,
    Feature,
    HandoffIndicator,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
    UpdateFlag,
)
from lmad.binding_cache import State
from magd.binding_update_list import State as Awaiting
from magd.config import ContextReflector as MagdReflector
from tests.domain import LMAA, mag_address, mag_config, utc
from tests.packets import PacketDomain
from tests.test_context_reflector import MN, assert_nothing_wrong, begin


@pytest.mark.parametrize("octets", [0, 64, 1800, 6000])
def test_contexts_of_any_size_arrive_intact(octets: int) -> None:
    data = random.Random(octets).randbytes(octets)
    domain = begin(known=True)
    here = domain.mags[mag_address(1)]
    entry = here.binding_update_list[MN]
    here.binding_update_list.store(replace(entry, opaque=(ContextData(0xFF00, data),)))
    domain.leave()
    domain.run(domain.now + 0.05)
    domain.arrive(2)
    domain.run(domain.now + 1.0)
    assert domain.mags[mag_address(2)].binding_update_list[MN].opaque == (ContextData(0xFF00, data),)


@pytest.mark.parametrize("downlink", ["hold", "forward"])
def test_a_context_of_several_parts_waits_for_its_mn_as_any_other(downlink: str) -> None:
    domain = begin(known=True, downlink=downlink, context_lifetime=5.0)
    here, there = domain.mags[mag_address(1)], domain.mags[mag_address(2)]
    long = (ContextData(0xFF00, bytes(6000)),)
    here.binding_update_list.store(replace(here.binding_update_list[MN], opaque=long))
    domain.traffic(0.002, until=5.0)
    domain.leave()
    came = domain.now + 2 * domain.one_way
    domain.run(domain.now + 2.0)
    awaited = there.binding_update_list[MN]
    assert (awaited.state, [number for number, _ in awaited.parts]) == (Awaiting.AWAITED, [0, 1, 2, 3])
    assert awaited.expires == pytest.approx(came + 5.0)
    domain.arrive(2)
    domain.run(6.0)
    assert_nothing_wrong(domain)
    assert there.binding_update_list[MN].opaque == long
    assert "context-expired" not in domain.notes()
    assert len(domain.sent(ContextContinuation)) == 3 + 3  # to the LMA, and to nMAG once


def test_context_of_which_a_part_is_lost_starts_from_nothing_and_the_handover_does_not_wait() -> None:
    domain = begin(known=True)
    here = domain.mags[mag_address(1)]
    pieces = (ContextData(0xFF00, bytes(64)), ContextData(0xFF01, bytes(6000)))
    here.binding_update_list.store(replace(here.binding_update_list[MN], opaque=pieces))
    domain.deliver = lambda _source, _destination, message: (
        () if isinstance(message, ContextContinuation) and message.part == 2 else (domain.one_way,)
    )
    domain.traffic(0.002, until=3.0)
    domain.leave()
    domain.run(domain.now + 0.05)
    domain.arrive(2)
    domain.run(4.0)
    assert_nothing_wrong(domain)
    assert domain.mags[mag_address(2)].binding_update_list[MN].opaque == pieces[:1]


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ((ContextData(0xFF00, bytes(20_000)),), "refused-context-too-large"),
        (tuple(ContextData(0xFF00 + n, b"") for n in range(32)), "refused-context-features-too-many"),
    ],
)
def test_of_a_context_beyond_the_limits_only_what_the_handover_needs_is_sent(
    features: tuple[ContextData, ...], reason: str
) -> None:
    domain = begin(known=True)
    here = domain.mags[mag_address(1)]
    here.binding_update_list.store(replace(here.binding_update_list[MN], opaque=features))
    domain.traffic(0.002, until=3.0)
    domain.leave()
    domain.run(domain.now + 0.05)
    domain.arrive(2)
    domain.run(4.0)
    assert_nothing_wrong(domain)
    assert reason in domain.notes()
    [pbu] = [each for each in domain.sent(ProxyBindingUpdate) if isinstance(each, ProxyBindingUpdate) and each.contexts]
    assert [piece.feature for piece in pbu.contexts] == [Feature.NMAG_ADDRESS, Feature.BINDING_STATE]
    assert domain.mags[mag_address(2)].binding_update_list[MN].opaque == ()


def test_both_daemons_take_what_their_limits_allow() -> None:
    data = ContextData(0xFF00, bytes(20_000))
    domain = begin(known=True, max_context_size=21_000)
    wide = MagdReflector(neighbours=(mag_address(2),), max_context_size=21_000)
    for number in (1, 2):
        gateway = domain.mags[mag_address(number)]
        gateway.follow(msgspec.structs.replace(mag_config(number), context_reflector=wide), domain.now)
    here = domain.mags[mag_address(1)]
    here.binding_update_list.store(replace(here.binding_update_list[MN], opaque=(data,)))
    domain.leave()
    domain.run(domain.now + 0.05)
    domain.arrive(2)
    domain.run(domain.now + 1.0)
    assert domain.mags[mag_address(2)].binding_update_list[MN].opaque == (data,)


def dereg_with(
    contexts: tuple[ContextData, ...], sender: int = 1, age: float = 0.0, **limits: int
) -> tuple[PacketDomain, list[str]]:
    """What the LMA notes when a MAG, pMAG if nothing is said, de-registers the MN with these."""
    domain = begin(2, False, 0.01, **limits)
    entry = domain.mags[mag_address(1)].binding_update_list[MN]
    pbu = ProxyBindingUpdate(
        sequence=7,
        lifetime=0,
        flags=UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY | UpdateFlag.CONTEXT,
        mn_id=MN,
        hnps=entry.hnps,
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=entry.mn_ll_id,
        timestamp=Timestamp.from_utc(utc(domain.now - age)),
        contexts=contexts,
    )
    domain.log.clear()
    domain.perform(LMAA, domain.lma.receive(mag_address(sender), pbu, domain.now))
    return domain, domain.notes()


@pytest.mark.parametrize(
    ("contexts", "limits", "reason"),
    [
        ((ContextData(1, IPv6Address("2001:db8::bad").packed),), {}, "refused-unknown-nmag"),
        ((ContextData(1, b"short"),), {}, "refused-nmag-address-malformed"),
        ((ContextData(0xFF00, bytes(600)),), {"max_context_size": 512}, "refused-context-too-large"),
        (
            tuple(ContextData(0xFF00 + n, b"") for n in range(3)),
            {"max_context_features": 2},
            "refused-context-features-too-many",
        ),
    ],
)
def test_contexts_that_are_refused_change_nothing(
    contexts: tuple[ContextData, ...], limits: dict[str, int], reason: str
) -> None:
    domain, notes = dereg_with(contexts, **limits)
    assert notes == [reason]
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa) == (State.REGISTERED, mag_address(1))
    [pba] = domain.sent(ProxyBindingAck)
    assert isinstance(pba, ProxyBindingAck)
    assert pba.status == Status.ADMINISTRATIVELY_PROHIBITED


@pytest.mark.parametrize(
    ("sender", "age", "note"),
    [(2, 0.0, "deregistration-ignored"), (1, 1.1, "refused-timestamp-lower-than-prev-accepted")],
)
def test_only_the_serving_mags_latest_word_makes_a_cce(sender: int, age: float, note: str) -> None:
    domain, notes = dereg_with((ContextData(0xFF00, b"state"),), sender, age)
    assert notes == [note]
    assert domain.lma.binding_cache.of(MN)[0].state is State.REGISTERED


def test_parts_that_are_refused_or_of_nothing_known_are_named_and_go_no_further() -> None:
    nmag = ContextData(Feature.NMAG_ADDRESS, mag_address(2).packed)
    domain, _ = dereg_with((nmag, ContextData(0xFF00, bytes(100))), max_context_size=512, max_context_parts=3)

    def noted(part: int, parts: int, octets: int, sequence: int = 7, sender: int = 1) -> list[str]:
        pieces = (ContextData(0xFF01, bytes(octets)),)
        message = ContextContinuation(
            sequence=sequence, lifetime=0.0, part=part, parts=parts, mn_id=MN, contexts=pieces
        )
        actions = domain.lma.receive(mag_address(sender), message, domain.now)
        passed = [each for each in actions if isinstance(each, Send)]
        return [each.event for each in actions if isinstance(each, Note)] + [
            f"to {each.destination}" for each in passed
        ]

    assert noted(1, 3, 100) == [f"to {mag_address(2)}"]
    assert noted(1, 3, 100) == ["context-part-repeated"]
    assert noted(2, 3, 300) == ["refused-context-too-large"]
    assert noted(2, 4, 10) == ["refused-context-parts-too-many"]
    assert noted(2, 3, 10, sequence=8) == ["context-part-without-context"]
    assert noted(2, 3, 10, sender=2) == ["context-part-without-context"]
