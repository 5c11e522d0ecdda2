"""The gateway's core alone: events and answers in, actions out, `now` a number."""

from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from common.actions import Action, Advertise, Forward, Forwarding, Note, Send, ToAccess
from common.errors import DataPlaneError
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingError,
    HandoffIndicator,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
    UpdateFlag,
)
from magd.binding_update_list import State
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, mac, mag_address, mag_config, mn_id, utc

MN = mn_id(1)
HNP = IPv6Network("2001:db8:1000::/64")
SERVED = Forward(MN, (HNP,), Forwarding(ToAccess("acc1", mac(1)), uplink_to=LMAA))


@pytest.fixture
def mag() -> MobileAccessGateway:
    return MobileAccessGateway(mag_config(1, mns=2, heartbeat_interval=3600.0), utc, sequence=65535)


@pytest.fixture
def registered(mag: MobileAccessGateway) -> MobileAccessGateway:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(pbu), 0.01)
    return mag


def sent(actions: list[Action]) -> list[ProxyBindingUpdate]:
    return [a.message for a in actions if isinstance(a, Send) and isinstance(a.message, ProxyBindingUpdate)]


def accepted(pbu: ProxyBindingUpdate, **changes: object) -> ProxyBindingAck:
    pba = ProxyBindingAck(
        status=Status.ACCEPTED,
        sequence=pbu.sequence,
        lifetime=pbu.lifetime and 300,
        mn_id=pbu.mn_id,
        hnps=(HNP,),
        handoff_indicator=pbu.handoff_indicator,
        access_technology=pbu.access_technology,
        mn_ll_id=pbu.mn_ll_id,
        timestamp=pbu.timestamp,
    )
    return replace(pba, **changes)  # type: ignore[arg-type]


def refresh(registered: MobileAccessGateway) -> ProxyBindingUpdate:
    """What is sent at 260.01, forty seconds before the lifetime ends."""
    registered.expire(100.01)
    registered.expire(200.01)
    registered.heard("acc1", mac(1), None, 260.0)
    [pbu] = sent(registered.expire(260.01))
    return pbu


def state(mag: MobileAccessGateway) -> State | None:
    entry = mag.binding_update_list.get(MN)
    return entry.state if entry else None


def test_attachment_sends_a_whole_pbu(mag: MobileAccessGateway) -> None:
    actions = mag.link_up("acc1", 1.5)
    assert actions == [
        Note("attached", MN, detail="acc1"),
        Send(
            LMAA,
            ProxyBindingUpdate(
                sequence=0,  # counts modulo 2^16
                lifetime=3600,
                flags=UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY,
                mn_id=MN,
                hnps=(ALL_ZERO_PREFIX,),
                handoff_indicator=HandoffIndicator.UNKNOWN,
                access_technology=AccessTechnologyType.IEEE_802_11,
                mn_ll_id=mac(1),
                timestamp=Timestamp.from_utc(utc(1.5)),
            ),
        ),
    ]


def test_acceptance_makes_the_path_before_the_advertisement(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    assert mag.receive(LMAA, accepted(pbu), 0.01) == [SERVED, Advertise("acc1", mac(1), (HNP,), 300, 1460)]
    assert state(mag) is State.REGISTERED


def test_router_solicitation_is_answered_only_when_registered(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.solicited("acc1", mac(1), True, 0.0))
    assert mag.solicited("acc1", mac(1), True, 0.005) == []
    mag.receive(LMAA, accepted(pbu), 0.01)
    assert mag.solicited("acc1", mac(1), True, 1.0) == [Advertise("acc1", mac(1), (HNP,), 300, 1460)]


def test_router_solicitation_does_not_attach_where_that_is_not_configured(mag: MobileAccessGateway) -> None:
    assert mag.solicited("acc1", mac(1), False, 0.0) == []


def test_stranger_gets_nothing_but_a_line(mag: MobileAccessGateway) -> None:
    [note] = mag.solicited("acc9", mac(99), True, 0.0)
    assert isinstance(note, Note)
    assert note.event == "unknown-mobile-node"
    assert [type(action) for action in mag.attached(mn_id(77), "acc1", 0.0)] == [Note]


def test_retransmission_backs_off_with_fresh_numbers_while_the_mn_is_there(mag: MobileAccessGateway) -> None:
    sent_pbus = sent(mag.link_up("acc1", 0.0))
    moments = []
    while (deadline := mag.deadline()) is not None and deadline < 200:
        moments.append(deadline)
        mag.heard("acc1", mac(1), None, deadline)
        sent_pbus += sent(mag.expire(deadline))
    assert moments == [1, 3, 7, 15, 31, 63, 95, 127, 159, 191]
    assert [pbu.sequence for pbu in sent_pbus] == list(range(11))
    stamps = [pbu.timestamp for pbu in sent_pbus if pbu.timestamp]
    assert stamps == sorted(set(stamps))
    # an answer to one that was superseded is not an answer to what is outstanding
    assert [type(a) for a in mag.receive(LMAA, accepted(sent_pbus[3]), 195.0)] == [Note]
    assert state(mag) is State.REGISTERING


def test_departure_deregisters_with_all_prefixes_and_ends_with_the_answer(registered: MobileAccessGateway) -> None:
    actions = registered.link_down("acc1", 5.0)
    [pbu] = sent(actions)
    assert (pbu.lifetime, pbu.hnps, pbu.handoff_indicator) == (0, (HNP,), HandoffIndicator.UNKNOWN)
    assert not [action for action in actions if isinstance(action, Forward)]
    assert registered.receive(LMAA, accepted(pbu), 5.01) == [Forward(MN, (HNP,), None), Note("removed", MN)]
    assert state(registered) is None
    assert not registered.binding_update_list


def test_deregistration_without_answer_ends_after_the_timeout(registered: MobileAccessGateway) -> None:
    registered.link_down("acc1", 5.0)
    assert registered.deadline() == 6.0
    assert Forward(MN, (HNP,), None) in registered.expire(6.0)
    assert state(registered) is None


def test_mn_that_comes_back_at_once_registers_anew(registered: MobileAccessGateway) -> None:
    [old] = sent(registered.link_down("acc1", 5.0))
    [new] = sent(registered.link_up("acc1", 5.005))
    assert [type(a) for a in registered.receive(LMAA, accepted(old), 5.01)] == [Note]
    assert SERVED in registered.receive(LMAA, accepted(new), 5.015)


def test_mn_that_leaves_before_the_answer_is_deregistered(mag: MobileAccessGateway) -> None:
    mag.link_up("acc1", 0.0)
    [pbu] = sent(mag.link_down("acc1", 0.004))
    assert pbu.lifetime == 0
    assert Note("removed", MN) in mag.receive(LMAA, accepted(pbu), 0.02)


def test_refresh_before_the_lifetime_ends(registered: MobileAccessGateway) -> None:
    moments = []
    refreshes: list[ProxyBindingUpdate] = []
    while not refreshes:
        deadline = registered.deadline()
        assert deadline is not None
        moments.append(deadline)
        registered.heard("acc1", mac(1), None, deadline)
        refreshes = sent(registered.expire(deadline))
    assert moments == [pytest.approx(100.01), pytest.approx(200.01), pytest.approx(260.01)]
    assert (refreshes[0].handoff_indicator, refreshes[0].hnps) == (HandoffIndicator.NOT_CHANGED, (HNP,))
    assert state(registered) is State.REFRESHING
    actions = registered.receive(LMAA, accepted(refreshes[0]), 260.02)
    assert not [action for action in actions if isinstance(action, Forward)]
    assert state(registered) is State.REGISTERED


def test_lma_that_fell_silent_ends_the_service(registered: MobileAccessGateway) -> None:
    ended = None
    while ended is None:
        deadline = registered.deadline()
        assert deadline is not None
        registered.heard("acc1", mac(1), None, deadline)
        actions = registered.expire(deadline)
        ended = deadline if Forward(MN, (HNP,), None) in actions else None
    assert ended == pytest.approx(300.01)
    assert state(registered) is State.REGISTERING


@pytest.mark.parametrize(
    "changes",
    [
        {"handoff_indicator": HandoffIndicator.NEW_INTERFACE},
        {"access_technology": 3},
        {"mn_ll_id": None},
        {"status": Status.PROXY_REG_NOT_ENABLED},
        {"status": Status.NOT_LMA_FOR_THIS_MOBILE_NODE},
        {"status": Status.INSUFFICIENT_RESOURCES},
        {"hnps": ()},
        {"lifetime": 0},
    ],
)
def test_answers_that_end_the_attempt(mag: MobileAccessGateway, changes: dict[str, object]) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    actions = mag.receive(LMAA, accepted(pbu, **changes), 0.01)
    assert [type(action) for action in actions] == [Note]
    assert state(mag) is State.REFUSED
    assert mag.deadline() is None
    mag.link_down("acc1", 1.0)
    assert state(mag) is None


def test_older_timestamp_is_said_again_within_the_rate_limit(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(pbu, status=Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED), 0.01)
    assert mag.deadline() == pytest.approx(1 / 3)
    [again] = sent(mag.expire(0.34))
    assert again.sequence != pbu.sequence


def test_clock_that_differs_is_tried_again_late(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    assert pbu.timestamp is not None
    for seconds_ahead in (0.0, 0.4, -0.4):
        clock = Timestamp.from_utc(pbu.timestamp.utc + seconds_ahead)
        mag.receive(LMAA, accepted(pbu, status=Status.TIMESTAMP_MISMATCH, timestamp=clock), 0.01)
        assert mag.deadline() == 32.0


def test_a_pbu_that_came_too_late_is_sent_again_as_if_it_had_been_lost(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    assert pbu.timestamp is not None
    arrival = Timestamp.from_utc(pbu.timestamp.utc + 0.4)
    assert sent(mag.receive(LMAA, accepted(pbu, status=Status.TIMESTAMP_MISMATCH, timestamp=arrival), 0.5)) == []
    assert mag.deadline() == 1.0
    [again] = sent(mag.expire(1.0))
    assert (again.sequence, again.timestamp) == (pbu.sequence + 1, Timestamp.from_utc(pbu.timestamp.utc + 1.0))


def test_a_refresh_that_came_too_late_leaves_the_service_alone(registered: MobileAccessGateway) -> None:
    pbu = refresh(registered)
    assert pbu.timestamp is not None
    arrival = Timestamp.from_utc(pbu.timestamp.utc + 0.4)
    registered.receive(LMAA, accepted(pbu, status=Status.TIMESTAMP_MISMATCH, timestamp=arrival), 260.51)
    assert state(registered) is State.REFRESHING
    assert registered.deadline() == 261.01


def test_refused_prefix_is_not_asked_for_again(registered: MobileAccessGateway) -> None:
    pbu = refresh(registered)
    status = Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX
    actions = registered.receive(LMAA, accepted(pbu, status=status), 260.02)
    assert sent(actions)[0].hnps == (ALL_ZERO_PREFIX,)
    assert Forward(MN, (HNP,), None) in actions


def test_an_answer_from_elsewhere_or_unasked_is_ignored(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    assert [type(a) for a in mag.receive(mag_address(2), accepted(pbu), 0.01)] == [Note]
    assert [type(a) for a in mag.receive(LMAA, accepted(pbu, mn_id=None), 0.01)] == [Note]
    assert [type(a) for a in mag.receive(LMAA, BindingError(status=2), 0.01)] == [Note]
    assert state(mag) is State.REGISTERING


def test_kernel_that_refuses_ends_the_service_and_the_lma_hears_of_it(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    forward = mag.receive(LMAA, accepted(pbu), 0.01)[0]
    assert forward == SERVED
    assert isinstance(forward, Forward)
    actions = mag.forwarding_failed(forward, DataPlaneError("no buffer space"), 0.01)
    assert Forward(MN, (HNP,), None) in actions
    assert sent(actions)[0].lifetime == 0
    assert state(mag) is State.REFUSED


def test_another_link_of_the_same_mag_has_the_path_at_once(registered: MobileAccessGateway) -> None:
    actions = registered.attached(MN, "acc2", 1.0)
    assert actions[0] == Forward(MN, (HNP,), Forwarding(ToAccess("acc2", mac(1)), uplink_to=LMAA))
    assert Advertise("acc2", mac(1), (HNP,), 300, 1460) in actions


def test_who_is_said_to_have_come_is_registered_anew_and_served_meanwhile(registered: MobileAccessGateway) -> None:
    """It may have been elsewhere and nobody said so here; a carrier that never went says nothing of the kind."""
    actions = registered.attached(MN, "acc1", 1.0)
    [pbu] = sent(actions)
    assert (pbu.hnps, pbu.handoff_indicator, pbu.lifetime) == ((HNP,), HandoffIndicator.UNKNOWN, 3600)
    assert not [action for action in actions if isinstance(action, Forward)]
    registered.receive(LMAA, accepted(pbu), 1.01)
    assert state(registered) is State.REGISTERED
    assert registered.link_up("acc1", 2.0) == [Advertise("acc1", mac(1), (HNP,), 300, 1460)]


def test_without_timestamps_the_sequence_number_alone_orders() -> None:
    mag = MobileAccessGateway(mag_config(1, timestamp_based_approach_in_use=False), utc, sequence=7)
    [first] = sent(mag.link_up("acc1", 0.0))
    [again] = sent(mag.expire(1.0))
    assert (first.timestamp, again.timestamp) == (None, None)
    assert (first.sequence, again.sequence) == (8, 9)
