"""Requests that wait for the old MAG's word are answered in the end, whatever becomes of the session meanwhile."""

import pytest

from common.actions import Action
from common.mh.messages import BindingRevocationIndication, Heartbeat, ProxyBindingAck, RevocationStatus, Status
from lmad.lma import LocalMobilityAnchor
from tests.domain import lma_config
from tests.test_lma import HNP, NMAG, PMAG, pbu
from tests.test_lma_lookup import OTHER, SECOND, THIRD_MAG, anchor, answers, bra, indications


def wait_for_an_answer(lma: LocalMobilityAnchor, begun: float) -> ProxyBindingAck:
    """Nobody says anything any more; long before a lifetime or a heartbeat runs out there must be one."""
    actions: list[Action] = []
    while (moment := lma.deadline()) is not None and moment < begun + 20.0:
        actions += lma.expire(max(moment, begun))
    [pba] = answers(actions)
    return pba


def asks(lma: LocalMobilityAnchor) -> BindingRevocationIndication:
    """Another interface comes at nMAG, or the same one whose identifier is not known: pMAG is asked."""
    [bri] = indications(lma.receive(NMAG, pbu(1.0, **OTHER), 1.0))
    return bri


@pytest.mark.parametrize("status", [RevocationStatus.SUCCESS, RevocationStatus.MN_IS_ATTACHED])
def test_who_is_no_subscriber_any_more_is_refused(status: RevocationStatus) -> None:
    lma = anchor()
    bri = asks(lma)
    lma.follow(lma_config(mags=3, mns=0), 1.1)
    lma.receive(PMAG, bra(bri, status), 1.2)
    assert wait_for_an_answer(lma, 1.2).status is Status.NOT_LMA_FOR_THIS_MOBILE_NODE


def test_a_session_that_is_verified_is_asked_about_all_the_same() -> None:
    """pMAG was restarted and is asked whether it knows the session: no answer to that says whether the MN has left."""
    lma = anchor()
    [verifies] = indications(
        lma.receive(PMAG, Heartbeat(sequence=0, response=True, unsolicited=True, restart_counter=1), 0.5)
    )
    assert not indications(lma.receive(NMAG, pbu(1.0, **OTHER), 1.0))
    lma.receive(PMAG, bra(verifies, RevocationStatus.MN_IS_ATTACHED), 1.1)
    [bri] = indications(lma.expire(1.1))
    lma.receive(PMAG, bra(bri, RevocationStatus.SUCCESS), 1.2)
    assert wait_for_an_answer(lma, 1.2).hnps == (HNP,)


def test_nobody_answers_for_a_session_that_is_verified() -> None:
    lma = anchor()
    lma.receive(PMAG, Heartbeat(sequence=0, response=True, unsolicited=True, restart_counter=1), 0.5)
    lma.receive(NMAG, pbu(1.0, **OTHER), 1.0)
    assert wait_for_an_answer(lma, 1.0).hnps == (SECOND,)


def test_when_the_session_has_moved_on_its_new_mag_is_asked() -> None:
    lma = anchor()
    bri = asks(lma)
    lma.receive(THIRD_MAG, pbu(1.1), 1.1)
    assert not answers(lma.expire(1.1))
    lma.receive(PMAG, bra(bri, RevocationStatus.SUCCESS), 1.2)
    [second] = indications(lma.expire(1.2))
    lma.receive(THIRD_MAG, bra(second, RevocationStatus.MN_IS_ATTACHED), 1.3)
    assert wait_for_an_answer(lma, 1.3).hnps == (SECOND,)
