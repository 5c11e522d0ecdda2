"""Binding revocation (RFC 5846): retransmission, what the anchor revokes, what MAGs revoke."""

from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from common.actions import Action, Forward, Note, Send
from common.mh.messages import (
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextData,
    Feature,
    HandoffIndicator,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
    Status,
    UpdateFlag,
)
from common.revocation import SEQUENCE_SPACE, Outstanding, Revocations
from lmad.config import LmadConfig, Mag
from lmad.lma import LocalMobilityAnchor
from tests.domain import lma_config, mac, mn_id, utc
from tests.test_lma import HNP, MN, NMAG, PMAG, answer, pbu
from tests.test_lma_lookup import SECOND, bra, indications

IDENTITY = "mag1.example.net"
GLOBAL = RevocationFlag.PROXY | RevocationFlag.GLOBAL
BRI = BindingRevocationIndication(trigger=RevocationTrigger.ADMINISTRATIVE, sequence=9, mn_id=MN)


def anchor(mns: int = 2) -> LocalMobilityAnchor:
    """MN 1 with two interfaces, at pMAG and nMAG; the others at pMAG. pMAG may revoke all of its own."""
    config = lma_config(mns=mns)
    mags = (Mag(address=PMAG, identity=IDENTITY), Mag(address=NMAG))
    lma = LocalMobilityAnchor(LmadConfig(lma=config.lma, mag=mags, mobile_node=config.mobile_node), utc)
    lma.receive(PMAG, pbu(0.0), 0.0)
    lma.receive(NMAG, pbu(0.1, mn_ll_id=mac(7), handoff_indicator=HandoffIndicator.NEW_INTERFACE), 0.1)
    for number in range(2, mns + 1):
        lma.receive(PMAG, pbu(0.0, mn_id=mn_id(number), mn_ll_id=mac(number)), 0.0)
    return lma


def removed(actions: list[Action]) -> list[IPv6Network]:
    return [hnp for each in actions if isinstance(each, Forward) and each.forwarding is None for hnp in each.hnps]


def reply(actions: list[Action]) -> BindingRevocationAck:
    [message] = [each.message for each in actions if isinstance(each, Send)]
    assert isinstance(message, BindingRevocationAck)
    return message


def test_retransmission_backs_off_until_it_is_given_up() -> None:
    revocations: Revocations[str] = Revocations(max_retries=3, initial_delay=0.5, max_timeout=1.5)
    sent = revocations.begin(PMAG, BRI, "subject", 0.0)
    moments = []
    while revocations.deadline() < 100:
        moments.append(revocations.deadline())
        [step] = revocations.expire(moments[-1])
    assert moments == [0.5, 1.5, 3.0, 4.5]
    assert isinstance(step, Outstanding)
    assert (step.subject, step.indication) == ("subject", sent.message)
    assert len(revocations) == 0


def test_answer_must_match_number_and_sender() -> None:
    revocations: Revocations[str] = Revocations(1, 1.0, 2.0)
    sent = revocations.begin(PMAG, BRI, "subject", 0.0).message
    assert isinstance(sent, BindingRevocationIndication)
    good = bra(sent, RevocationStatus.SUCCESS)
    assert revocations.acknowledged(NMAG, good) is None
    assert revocations.acknowledged(PMAG, replace(good, sequence=sent.sequence + 1)) is None
    assert revocations.acknowledged(PMAG, good) is not None
    assert revocations.acknowledged(PMAG, good) is None
    assert list(revocations.expire(100.0)) == []


def test_no_two_outstanding_have_a_number() -> None:
    revocations: Revocations[int] = Revocations(1, 1.0, 2.0)
    numbers = {revocations.begin(PMAG, BRI, n, 0.0).message.sequence for n in range(SEQUENCE_SPACE)}  # type: ignore[union-attr]
    assert len(numbers) == SEQUENCE_SPACE
    revocations.begin(PMAG, BRI, -1, 0.0)  # one more: the oldest is given up
    [step] = revocations.expire(0.0)
    assert isinstance(step, Outstanding)
    assert step.subject == 0


def test_operator_ends_every_session_of_an_mn() -> None:
    lma = anchor()
    actions = lma.revoke(MN, 1.0)
    assert [each.destination for each in actions if isinstance(each, Send)] == [PMAG, NMAG]
    at_pmag, at_nmag = indications(actions)
    assert (at_pmag.trigger, at_pmag.flags) == (RevocationTrigger.ADMINISTRATIVE, RevocationFlag.PROXY)
    assert (at_pmag.mn_id, at_pmag.hnps, at_nmag.hnps) == (MN, (HNP,), (SECOND,))
    # Until a MAG has answered the session is there, but it gets no more of it.
    assert answer(lma.receive(PMAG, pbu(1.1, hnps=(HNP,)), 1.1)).status == Status.ADMINISTRATIVELY_PROHIBITED
    assert removed(lma.receive(PMAG, bra(at_pmag, RevocationStatus.SUCCESS), 1.2)) == [HNP]
    # The operator's word holds whatever the MAG says, and if it says nothing.
    assert lma.expire(2.0) == [Send(NMAG, at_nmag)]
    assert removed(lma.expire(4.0)) == [SECOND]
    assert [bce.mn_id for bce in lma.binding_cache] == [mn_id(2)]
    assert answer(lma.receive(PMAG, pbu(5.0), 5.0)).status == Status.ACCEPTED  # it may come again


@pytest.mark.parametrize("status", [RevocationStatus.MN_IS_ATTACHED, RevocationStatus.FUNCTION_NOT_SUPPORTED])
def test_refusal_by_the_mag_does_not_save_a_session(status: RevocationStatus) -> None:
    lma = anchor()
    bri = indications(lma.revoke(MN, 1.0))[0]
    actions = lma.receive(PMAG, bra(bri, status), 1.1)
    assert removed(actions) == [HNP]
    assert Note(f"revocation-refused-{int(status)}", MN, PMAG) in actions


def test_session_that_moved_on_meanwhile_is_not_the_old_mags_to_end() -> None:
    lma = anchor()
    bri = indications(lma.revoke(MN, 1.0))[0]
    assert answer(lma.receive(NMAG, pbu(1.1, hnps=(HNP,)), 1.1)).status == Status.ACCEPTED
    assert removed(lma.receive(PMAG, bra(bri, RevocationStatus.SUCCESS), 1.2)) == []


def test_deregistered_session_ends_at_once() -> None:
    lma = anchor(mns=1)
    lma.receive(PMAG, pbu(1.0, lifetime=0, hnps=(HNP,)), 1.0)
    actions = lma.revoke(MN, 2.0)
    assert removed(actions) == [HNP]
    assert [bri.hnps for bri in indications(actions)] == [(SECOND,)]


def test_global_revocation_of_a_mag() -> None:
    lma = anchor(mns=4)
    [bri] = indications(lma.revoke_at(PMAG, None, 1.0))
    assert (bri.trigger, bri.flags, bri.mn_id, bri.hnps) == (RevocationTrigger.PER_PEER_POLICY, GLOBAL, None, ())
    assert len(removed(lma.receive(PMAG, bra(bri, RevocationStatus.SUCCESS), 1.1))) == 4
    assert [bce.proxy_coa for bce in lma.binding_cache] == [NMAG]


def test_global_revocation_of_a_realm() -> None:
    lma = anchor()
    [bri] = indications(lma.revoke_at(PMAG, "example.net", 1.0))
    assert (bri.trigger, str(bri.mn_id)) == (RevocationTrigger.REVOKING_NODE_POLICY, "@example.net")
    assert len(removed(lma.receive(PMAG, bra(bri, RevocationStatus.PARTIAL_SUCCESS), 1.1))) == 2
    [bri] = indications(lma.revoke_at(NMAG, "net", 2.0))  # the realm as a whole, not the end of one
    assert removed(lma.receive(NMAG, bra(bri, RevocationStatus.SUCCESS), 2.1)) == []


# RFC 5846 section 8.2 and 6.2.1.
@pytest.mark.parametrize(
    ("changes", "status", "ended"),
    [
        ({}, RevocationStatus.SUCCESS, [HNP]),  # all of the MN's that are this MAG's
        ({"hnps": (HNP,)}, RevocationStatus.SUCCESS, [HNP]),
        ({"hnps": (HNP, SECOND)}, RevocationStatus.PARTIAL_SUCCESS, [HNP]),
        ({"hnps": (SECOND,)}, RevocationStatus.BINDING_DOES_NOT_EXIST, []),
        ({"mn_id": mn_id(9)}, RevocationStatus.BINDING_DOES_NOT_EXIST, []),
        ({"mn_id": None}, RevocationStatus.BINDING_DOES_NOT_EXIST, []),
        ({"flags": RevocationFlag(0)}, RevocationStatus.BINDING_DOES_NOT_EXIST, []),
        ({"trigger": RevocationTrigger(77)}, RevocationStatus.TRIGGER_NOT_SUPPORTED, []),
        ({"trigger": RevocationTrigger(250)}, RevocationStatus.TRIGGER_NOT_SUPPORTED, []),
        ({"trigger": RevocationTrigger.PER_PEER_POLICY}, RevocationStatus.FUNCTION_NOT_SUPPORTED, []),
        ({"flags": GLOBAL}, RevocationStatus.FUNCTION_NOT_SUPPORTED, []),
        ({"flags": RevocationFlag.PROXY | RevocationFlag.IPV4_HOA_ONLY}, RevocationStatus.FUNCTION_NOT_SUPPORTED, []),
    ],
)
def test_mag_revokes(changes: dict[str, object], status: RevocationStatus, ended: list[IPv6Network]) -> None:
    lma = anchor()
    bri = replace(BRI, **changes)  # type: ignore[arg-type]
    actions = lma.receive(PMAG, bri, 1.0)
    answered = reply(actions)
    assert (answered.status, answered.sequence, answered.flags) == (status, 9, bri.flags)
    assert answered.hnps == ((SECOND,) if status == RevocationStatus.PARTIAL_SUCCESS else ())
    assert removed(actions) == ended


@pytest.mark.parametrize(
    ("source", "changes", "status"),
    [
        (PMAG, {}, RevocationStatus.SUCCESS),
        (PMAG, {"alternate_coa": PMAG}, RevocationStatus.SUCCESS),
        (PMAG, {"alternate_coa": NMAG}, RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED),
        (PMAG, {"mn_id": None}, RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED),
        (PMAG, {"mn_id": MN}, RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED),
        (NMAG, {}, RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED),
        (PMAG, {"trigger": RevocationTrigger.REVOKING_NODE_POLICY}, RevocationStatus.FUNCTION_NOT_SUPPORTED),
    ],
)
def test_mag_revokes_all_of_its_own(source: object, changes: dict[str, object], status: RevocationStatus) -> None:
    lma = anchor()
    whole = replace(BRI, trigger=RevocationTrigger.PER_PEER_POLICY, flags=GLOBAL, mn_id=MN.nai(IDENTITY))
    actions = lma.receive(source, replace(whole, **changes), 1.0)  # type: ignore[arg-type]
    assert reply(actions).status == status
    assert len(removed(actions)) == (2 if status == RevocationStatus.SUCCESS else 0)


def test_stranger_revokes_nothing() -> None:
    lma = anchor()
    assert lma.receive(PMAG + 1, BRI, 1.0) == [Note("unauthorized-source", peer=PMAG + 1, detail="BRI")]


@pytest.mark.parametrize(("status", "left"), [(None, 1), (RevocationStatus.SUCCESS, 0)])
def test_session_that_began_after_the_operators_word_ends_by_its_mags_only(
    status: RevocationStatus | None, left: int
) -> None:
    """A CCE is ended at once. Of both MAGs nothing is heard, but the MN comes to nMAG, under its prefix."""
    lma = LocalMobilityAnchor(lma_config(scheme="context-reflector"), utc)
    lma.receive(PMAG, pbu(0.0), 0.0)
    nmag = ContextData(Feature.NMAG_ADDRESS, NMAG.packed)
    flags = UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY | UpdateFlag.CONTEXT
    lma.receive(PMAG, pbu(1.0, lifetime=0, hnps=(HNP,), flags=flags, contexts=(nmag,)), 1.0)
    _to_pmag, to_nmag = indications(lma.revoke(MN, 1.1))
    assert len(lma.binding_cache) == 0
    assert answer(lma.receive(NMAG, pbu(1.2, hnps=(HNP,)), 1.2)).hnps == (HNP,)
    if status is not None:
        lma.receive(NMAG, bra(to_nmag, status), 1.3)
    while (moment := lma.deadline()) is not None and moment < 20.0:
        lma.expire(moment)
    assert len(lma.binding_cache) == left
