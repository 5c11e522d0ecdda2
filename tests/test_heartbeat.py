"""Heartbeats (RFC 5847): the pure core, and what the anchor makes of a MAG that restarted."""

from math import inf

from common.actions import Action, Drop, Forward, Forwarding, Note, Send, ToPeer
from common.heartbeat import Fate, Heartbeats, PeerEvent
from common.mh.messages import (
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    Heartbeat,
    RevocationStatus,
    RevocationTrigger,
    Status,
)
from lmad.lma import LocalMobilityAnchor
from tests.domain import lma_config, mac, mn_id, utc
from tests.test_lma import HNP, MN, NMAG, PMAG, answer, pbu

PEER = PMAG


def used(_peer: object) -> bool:
    return True


def response(sequence: int, counter: int, unsolicited: bool = False) -> Heartbeat:
    return Heartbeat(sequence=sequence, response=True, unsolicited=unsolicited, restart_counter=counter)


def request_of(actions: list[Action]) -> Heartbeat:
    [beat] = [each.message for each in actions if isinstance(each, Send) and isinstance(each.message, Heartbeat)]
    return beat


def test_request_is_answered_whether_or_not_there_is_a_session() -> None:
    beats = Heartbeats(60.0, 3, restart_counter=7)
    assert beats.received(PEER, Heartbeat(sequence=5), 0.0) == ([Send(PEER, response(5, 7))], [])
    assert beats.deadline() == inf


def test_peer_is_asked_every_interval_while_a_session_is_shared() -> None:
    beats = Heartbeats(60.0, 3, 0)
    beats.watch(PEER, 10.0)
    beats.watch(PEER, 50.0)
    assert beats.expire(69.9, used) == ([], [])
    first = request_of(beats.expire(70.0, used)[0])
    assert not first.response
    beats.received(PEER, response(first.sequence, 1), 70.01)
    second = request_of(beats.expire(130.0, used)[0])
    assert second.sequence == first.sequence + 1
    assert beats.expire(190.0, lambda _: False) == ([], [])
    assert beats.deadline() == inf


def test_failure_and_recovery() -> None:
    beats = Heartbeats(60.0, 3, 0)
    beats.watch(PEER, 0.0)
    assert beats.reachable() == {}
    for tick in range(1, 5):
        actions, events = beats.expire(60.0 * tick, used)
        assert events == []
    # MISSING_HEARTBEAT exceeds MISSING_HEARTBEATS_ALLOWED with the fourth that is not answered.
    actions, events = beats.expire(300.0, used)
    assert events == [PeerEvent(Fate.FAILED, PEER, -inf)]
    assert Note("peer-failed", peer=PEER) in actions
    assert beats.failed(PEER)
    assert beats.row(PEER, 300.0)["reachable"] is False
    assert beats.reachable() == {PEER: False}
    assert beats.expire(360.0, used)[1] == []  # said once
    sequence = request_of(beats.expire(420.0, used)[0]).sequence
    assert beats.received(PEER, response(sequence - 1, 1), 420.1)[0] == [Note("heartbeat-unmatched", peer=PEER)]
    assert beats.received(PEER, response(sequence, 1), 420.2)[1] == [PeerEvent(Fate.RECOVERED, PEER, -inf)]
    assert not beats.failed(PEER)
    assert beats.reachable() == {PEER: True}
    assert beats.row(PEER, 421.0)["reachable"] is True


def test_restart_is_another_counter() -> None:
    beats = Heartbeats(60.0, 3, 0)
    beats.watch(PEER, 0.0)
    for tick, (counter, events) in enumerate([(4, []), (4, []), (5, [PeerEvent(Fate.RESTARTED, PEER, 120.0)])], 1):
        sequence = request_of(beats.expire(60.0 * tick, used)[0]).sequence
        assert beats.received(PEER, response(sequence, counter), 60.0 * tick)[1] == events
        assert beats.received(PEER, response(sequence, 99), 60.0 * tick)[1] == []  # answered already


def test_unsolicited_response_tells_of_a_restart_at_once_and_once() -> None:
    beats = Heartbeats(60.0, 3, 0)
    for counter, events in [(3, [PeerEvent(Fate.RESTARTED, PEER, -inf)]), (3, []), (4, 1)]:
        found = beats.received(PEER, response(0, counter, unsolicited=True), 5.0)[1]
        assert found == events or (events == 1 and found == [PeerEvent(Fate.RESTARTED, PEER, 5.0)])


def test_peer_that_does_not_know_heartbeats_is_never_asked_again() -> None:
    beats = Heartbeats(60.0, 3, 0)
    beats.watch(PEER, 0.0)
    assert not beats.not_recognized(PEER)  # nothing was asked
    beats.expire(60.0, used)
    assert beats.not_recognized(PEER)
    beats.watch(PEER, 61.0)
    assert beats.deadline() == inf
    assert beats.row(PEER, 61.0)["heartbeats"] is False


def test_who_sends_heartbeats_knows_them() -> None:
    """The Binding Error was about another message; or the peer was replaced by one that knows more."""
    beats = Heartbeats(60.0, 3, restart_counter=7)
    beats.watch(PMAG, 0.0)
    beats.expire(60.0, lambda _: True)
    assert beats.not_recognized(PMAG)
    beats.watch(PMAG, 61.0)
    assert beats.deadline() == inf
    beats.received(PMAG, Heartbeat(sequence=1), 62.0)
    beats.watch(PMAG, 63.0)
    assert beats.deadline() == 123.0


def test_own_restart_is_announced() -> None:
    lma = LocalMobilityAnchor(lma_config(), utc, restart_counter=9)
    assert lma.started(sessions_lost=True, now=0.0) == [
        Send(mag, response(0, 9, unsolicited=True)) for mag in (PMAG, NMAG)
    ]
    assert lma.started(sessions_lost=False, now=0.0) == []


def test_anchor_gives_up_what_a_restarted_mag_has_forgotten() -> None:
    lma = LocalMobilityAnchor(lma_config(mns=2), utc)
    lma.receive(PMAG, pbu(0.0), 0.0)
    beat = request_of(lma.expire(60.0))
    lma.receive(PMAG, response(beat.sequence, 1), 60.0)
    lma.receive(PMAG, pbu(61.0, mn_id=mn_id(2), mn_ll_id=mac(2)), 61.0)
    # pMAG --> LMA  unsolicited: MN 1 was registered before it last said 1, MN 2 perhaps after the restart
    actions = lma.receive(PMAG, response(0, 2, unsolicited=True), 62.0)
    assert Forward(MN, (HNP,), Forwarding(Drop())) in actions
    [bri] = [each.message for each in actions if isinstance(each, Send)]
    assert isinstance(bri, BindingRevocationIndication)
    assert (bri.trigger, bri.mn_id) == (RevocationTrigger.OUT_OF_SYNC, mn_id(2))
    assert [bce.state.value for bce in lma.binding_cache] == ["de-registered", "registered"]
    # MN 1 is back under its prefix within MinDelayBeforeBCEDelete, wherever it comes.
    assert answer(lma.receive(NMAG, pbu(63.0), 63.0)).hnps == (HNP,)
    attached = BindingRevocationAck(status=RevocationStatus.MN_IS_ATTACHED, sequence=bri.sequence, mn_id=mn_id(2))
    assert Note("revocation-refused-132", mn_id(2), PMAG) in lma.receive(PMAG, attached, 62.1)
    assert [bce.state.value for bce in lma.binding_cache] == ["registered", "registered"]


def test_session_of_which_a_restarted_mag_knows_nothing() -> None:
    for refreshed, state in ((False, "de-registered"), (True, "registered")):
        lma = LocalMobilityAnchor(lma_config(), utc)
        lma.receive(PMAG, pbu(0.0), 0.0)
        [bri] = [
            each.message
            for each in lma.receive(PMAG, response(0, 2, unsolicited=True), 1.0)
            if isinstance(each, Send) and isinstance(each.message, BindingRevocationIndication)
        ]
        if refreshed:  # it said so before it registered the MN anew, and the answers overtook each other
            lma.receive(PMAG, pbu(1.5), 1.5)
        gone = BindingRevocationAck(
            status=RevocationStatus.BINDING_DOES_NOT_EXIST, sequence=bri.sequence, mn_id=bri.mn_id
        )
        lma.receive(PMAG, gone, 2.0)
        assert [bce.state.value for bce in lma.binding_cache] == [state]


def test_mag_that_is_not_reachable_is_not_waited_for() -> None:
    lma = LocalMobilityAnchor(lma_config(missing_heartbeats_allowed=0, max_lifetime=40000), utc)
    lma.receive(PMAG, pbu(0.0, lifetime=40000), 0.0)
    lma.expire(60.0)
    assert Note("peer-failed", peer=PMAG) in lma.expire(120.0)
    assert [bce.state.value for bce in lma.binding_cache] == ["registered"]  # the path may come back
    moved = answer(lma.receive(NMAG, pbu(121.0, mn_ll_id=mac(7)), 121.0))
    assert (moved.status, moved.hnps) == (Status.ACCEPTED, (HNP,))
    assert lma.binding_cache.session(HNP) is not None
    assert Forwarding(ToPeer(NMAG)) == lma._scheme.forwarding(next(iter(lma.binding_cache)))


def test_binding_error_that_answers_a_heartbeat() -> None:
    lma = LocalMobilityAnchor(lma_config(), utc)
    lma.receive(PMAG, pbu(0.0), 0.0)
    lma.expire(60.0)
    assert lma.receive(PMAG, BindingError(status=2), 60.1) == [Note("heartbeat-not-supported", peer=PMAG)]
    assert lma.receive(PMAG, BindingError(status=2), 60.2) == [Note("unexpected-BE", peer=PMAG, detail="status 2")]


def test_stranger_gets_no_heartbeat() -> None:
    lma = LocalMobilityAnchor(lma_config(), utc)
    refusal = Note("unauthorized-source", peer=PMAG + 1, detail="HB-request")
    assert lma.receive(PMAG + 1, Heartbeat(sequence=1), 0.0) == [refusal]
