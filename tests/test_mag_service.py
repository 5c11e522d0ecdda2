"""What the gateway does during an MN's stay: profiles, several interfaces, presence, pace, prefixes, MTU."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6

from common.actions import Action, Advertise, Forward, Forwarding, Note, Solicit, ToAccess
from common.config import LinkLayerId
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    HandoffIndicator,
    Status,
)
from magd.binding_update_list import State
from magd.config import Mag, MagdConfig, MobileNode
from magd.mag import MobileAccessGateway
from magd.presence import eui64_link_local
from magd.router_advertisement import build
from tests.domain import LMAA, mac, mag_address, mag_config, mn_id, utc
from tests.test_mag import HNP, MN, accepted, sent, state

OTHER_LMAA = IPv6Address("2001:db8:0:fe::1")
SECOND = IPv6Network("2001:db8:1000:1::/64")


@pytest.fixture
def mag() -> MobileAccessGateway:
    return MobileAccessGateway(mag_config(1, mns=2, heartbeat_interval=3600.0), utc, sequence=65535)


@pytest.fixture
def registered(mag: MobileAccessGateway) -> MobileAccessGateway:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(pbu), 0.01)
    return mag


def made(*nodes: MobileNode, **options: object) -> MobileAccessGateway:
    interfaces = ("acc1", "acc2", "acc3")
    mag = Mag(address=mag_address(1), lma=LMAA, access_interfaces=interfaces, **options)  # type: ignore[arg-type]
    return MobileAccessGateway(MagdConfig(mag=mag, mobile_node=nodes), utc)


def node(number: int = 1, **options: object) -> MobileNode:
    return MobileNode(mn_id=str(mn_id(number)), ll_id=LinkLayerId(mac(number)), **options)  # type: ignore[arg-type]


def run_until(mag: MobileAccessGateway, event: str) -> tuple[float, list[Action]]:
    """Let time pass until the core notes that; when, and what it said then. Nobody answers anything."""
    while (deadline := mag.deadline()) is not None:
        actions = mag.expire(deadline)
        if any(isinstance(action, Note) and action.event == event for action in actions):
            return deadline, actions
    raise AssertionError(event)


# Profiles (section 6.2).


def test_each_mn_has_the_lma_of_its_profile() -> None:
    mag = made(node(1, interface="acc1", lma=OTHER_LMAA), node(2, interface="acc2"))
    [pbu] = sent(mag.link_up("acc1", 0.0))
    [other] = sent(mag.link_up("acc2", 0.0))
    assert [type(a) for a in mag.receive(LMAA, accepted(pbu), 0.01)] == [Note]  # not this MN's
    served = mag.receive(OTHER_LMAA, accepted(pbu), 0.01)
    assert served[0] == Forward(MN, (HNP,), Forwarding(ToAccess("acc1", mac(1)), uplink_to=OTHER_LMAA))
    assert [type(a) for a in mag.receive(OTHER_LMAA, accepted(other), 0.01)] == [Note]
    assert mag.path_mtu(OTHER_LMAA, 1400) == [Advertise("acc1", mac(1), (HNP,), 300, 1400)]


def test_prefixes_of_the_profile_are_asked_for_and_given_up_when_refused() -> None:
    mag = made(node(interface="acc1", home_network_prefixes=(HNP, SECOND)))
    [pbu] = sent(mag.link_up("acc1", 0.0))
    assert pbu.hnps == (HNP, SECOND)
    refusal = accepted(pbu, status=Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX)
    [again] = sent(mag.receive(LMAA, refusal, 0.01))
    assert again.hnps == (ALL_ZERO_PREFIX,)
    mag.receive(LMAA, accepted(again, status=Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX), 0.02)
    assert state(mag) is State.REFUSED


def test_a_prefix_that_the_profile_does_not_allow_is_not_served_and_given_back() -> None:
    mag = made(node(interface="acc1", allowed_prefixes=(IPv6Network("2001:db8:2000::/36"),)))
    [pbu] = sent(mag.link_up("acc1", 0.0))
    actions = mag.receive(LMAA, accepted(pbu), 0.01)
    assert not [action for action in actions if isinstance(action, Forward | Advertise)]
    [farewell] = sent(actions)
    assert (farewell.lifetime, farewell.hnps) == (0, (HNP,))
    assert state(mag) is State.REFUSED


def test_a_stranger_is_worth_one_line_however_often_it_calls(mag: MobileAccessGateway) -> None:
    def calls() -> list[Note]:
        return [action for action in mag.solicited("acc9", mac(99), True, 0.0) if isinstance(action, Note)]

    assert [note.logged for _ in range(5) for note in calls()] == [True, False, False, False, False]
    mag.link_down("acc9", 1.0)
    assert [note.logged for note in calls()] == [True]
    for number in range(5000):
        mag.solicited("acc9", number.to_bytes(6), True, 2.0)
    assert [note.logged for note in calls()] == [True]  # who came meanwhile pushed it out: memory has an end


# Several interfaces of one MN (section 5.4).


@pytest.fixture
def two_interfaces() -> MobileAccessGateway:
    wifi = MobileNode(mn_id=str(MN), ll_id=LinkLayerId(mac(1)), interface="acc1", access_technology=4)
    wired = MobileNode(mn_id=str(MN), ll_id=LinkLayerId(mac(2)), interface="acc2", access_technology=3)
    return made(wifi, wired)


def test_each_interface_of_an_mn_is_a_session_of_its_own(two_interfaces: MobileAccessGateway) -> None:
    mag = two_interfaces
    [wifi] = sent(mag.link_up("acc1", 0.0))
    [wired] = sent(mag.solicited("acc2", mac(2), True, 0.0))
    assert (wifi.access_technology, wifi.mn_ll_id) == (AccessTechnologyType.IEEE_802_11, mac(1))
    assert (wired.access_technology, wired.mn_ll_id) == (AccessTechnologyType.IEEE_802_3, mac(2))
    mag.receive(LMAA, accepted(wifi), 0.01)
    served = mag.receive(LMAA, accepted(wired, hnps=(SECOND,)), 0.01)
    assert served[0] == Forward(MN, (SECOND,), Forwarding(ToAccess("acc2", mac(2)), uplink_to=LMAA))
    [farewell] = sent(mag.link_down("acc1", 5.0))
    assert (farewell.mn_ll_id, farewell.hnps) == (mac(1), (HNP,))
    mag.receive(LMAA, accepted(farewell), 5.01)
    [left] = mag.binding_update_list.of(MN)
    assert (left.mn_ll_id, left.hnps, left.state) == (mac(2), (SECOND,), State.REGISTERED)


def test_an_operator_detaches_all_interfaces(two_interfaces: MobileAccessGateway) -> None:
    for interface in ("acc1", "acc2"):
        two_interfaces.link_up(interface, 0.0)
    assert {pbu.mn_ll_id for pbu in sent(two_interfaces.detached(MN, 1.0))} == {mac(1), mac(2)}


# What answers lead to (section 6.9.1.2).


def test_an_answer_that_does_not_echo_a_refresh_leaves_the_binding_its_time(registered: MobileAccessGateway) -> None:
    registered.heard("acc1", mac(1), None, 259.0)
    for moment in (100.01, 200.01):
        registered.expire(moment)
    [refresh] = sent(registered.expire(260.01))
    wrong = accepted(refresh, handoff_indicator=HandoffIndicator.UNKNOWN)
    assert [type(a) for a in registered.receive(LMAA, wrong, 260.02)] == [Note]
    assert state(registered) is State.REGISTERED
    moment, actions = run_until(registered, "registration-expired")
    assert moment == pytest.approx(300.01)
    assert not sent(actions)  # not again, until an operator says so
    assert state(registered) is State.REFUSED
    assert sent(registered.attached(MN, "acc1", 400.0))


def test_an_answer_to_a_deregistration_that_does_not_echo_is_ignored(registered: MobileAccessGateway) -> None:
    [pbu] = sent(registered.link_down("acc1", 5.0))
    registered.receive(LMAA, accepted(pbu, access_technology=AccessTechnologyType.VIRTUAL), 5.01)
    assert state(registered) is State.DEREGISTERING
    registered.expire(6.0)
    assert state(registered) is None


def test_a_sequence_number_out_of_window_is_taken_from_the_lma() -> None:
    mag = MobileAccessGateway(mag_config(1, timestamp_based_approach_in_use=False), utc, sequence=7)
    [pbu] = sent(mag.link_up("acc1", 0.0))
    refusal = accepted(pbu, status=Status.SEQUENCE_OUT_OF_WINDOW, sequence=4711)
    mag.receive(LMAA, refusal, 0.01)
    [again] = sent(mag.expire(0.34))
    assert again.sequence == 4712


# How often (section 6.9.4, RFC 6275 section 11.8).


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 0.4)), min_size=8, max_size=40))
def test_no_session_asks_more_than_three_times_a_second(moves: list[tuple[bool, float]]) -> None:
    mag = MobileAccessGateway(mag_config(1, heartbeat_interval=3600.0), utc)
    now, requests = 0.0, list[float]()

    def tell(actions: list[Action]) -> None:
        for pbu in sent(actions):
            requests.append(now)
            mag.receive(LMAA, accepted(pbu), now)

    for come, wait in moves:
        tell(mag.link_up("acc1", now) if come else mag.link_down("acc1", now))
        until = now + wait
        while (deadline := mag.deadline()) is not None and deadline <= until:
            now = max(now, deadline)
            tell(mag.expire(now))
        now = until
    assert all(fourth >= first + 1.0 for first, fourth in zip(requests, requests[3:], strict=False))
    last = moves[-1][0]
    now += 2.0
    tell(mag.expire(now))
    assert state(mag) is (State.REGISTERED if last else None)


# Whether it is there (section 6.13).


def refresh_due(mag: MobileAccessGateway) -> list[Action]:
    for moment in (100.01, 200.01):
        mag.expire(moment)
    return mag.expire(260.01)


def test_an_mn_that_was_not_heard_from_is_asked_before_its_binding_is_extended(
    registered: MobileAccessGateway,
) -> None:
    address = HNP[0x1234]
    registered.heard("acc1", mac(1), address, 50.0)
    asked = refresh_due(registered)
    assert asked == [Solicit("acc1", mac(1), (eui64_link_local(mac(1)), address))]
    registered.heard("acc1", mac(1), address, 260.02)
    assert registered.deadline() == 260.01
    [refresh] = sent(registered.expire(260.02))
    assert refresh.handoff_indicator is HandoffIndicator.NOT_CHANGED


def test_an_mn_that_does_not_answer_is_deregistered_and_welcome_back(registered: MobileAccessGateway) -> None:
    assert [type(action) for action in refresh_due(registered)] == [Solicit]
    moment, actions = run_until(registered, "unreachable")
    assert moment == pytest.approx(263.01)
    [farewell] = sent(actions)
    assert (farewell.lifetime, farewell.hnps) == (0, (HNP,))
    registered.receive(LMAA, accepted(farewell), 263.02)
    assert state(registered) is None
    [back] = sent(registered.heard("acc1", mac(1), None, 400.0))  # its link never went down
    assert back.lifetime
    assert not sent(registered.heard("acc1", mac(1), None, 400.1))


def test_who_left_in_order_does_not_come_back_by_a_late_word(registered: MobileAccessGateway) -> None:
    [farewell] = sent(registered.link_down("acc1", 5.0))
    registered.receive(LMAA, accepted(farewell), 5.01)
    assert registered.heard("acc1", mac(1), None, 5.02) == []


def test_presence_need_not_be_verified() -> None:
    mag = MobileAccessGateway(mag_config(1, verify_presence=False, heartbeat_interval=3600.0), utc)
    [pbu] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(pbu), 0.01)
    assert sent(refresh_due(mag))


def test_a_short_binding_is_verified_before_it_ends(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(pbu, lifetime=4), 0.01)
    gone = None
    while (deadline := mag.deadline()) is not None:
        actions = mag.expire(deadline)
        for pbu in sent(actions):
            mag.receive(LMAA, accepted(pbu, lifetime=pbu.lifetime and 4), deadline)
        if any(isinstance(action, Note) and action.event == "unreachable" for action in actions):
            gone = deadline
    assert gone == pytest.approx(3.0, abs=0.1)  # heard of as it came, missing at half its time, asked thrice


def test_while_the_lma_is_silent_an_mn_that_left_unseen_is_not_asked_for_forever() -> None:
    mag = made(node())
    assert sent(mag.solicited("acc1", mac(1), True, 0.0))
    moment, actions = run_until(mag, "unreachable")
    assert moment < 70.0
    assert [pbu.lifetime for pbu in sent(actions)] == [0]


# Prefixes that are lost (section 6.12).


def test_a_prefix_that_is_replaced_is_withdrawn(registered: MobileAccessGateway) -> None:
    registered.heard("acc1", mac(1), None, 259.0)
    [refresh] = sent(refresh_due(registered))
    actions = registered.receive(LMAA, accepted(refresh, hnps=(SECOND,)), 260.02)
    assert actions == [
        Forward(MN, (HNP,), None),
        Forward(MN, (SECOND,), Forwarding(ToAccess("acc1", mac(1)), uplink_to=LMAA)),
        Advertise("acc1", mac(1), (SECOND,), 300, 1460, withdrawn=(HNP,)),
        Advertise("acc1", mac(1), (SECOND,), 300, 1460),
    ]


@pytest.mark.parametrize("status", [Status.ADMINISTRATIVELY_PROHIBITED, Status.PROXY_REG_NOT_ENABLED])
def test_an_mn_that_is_refused_from_now_on_loses_its_prefixes(registered: MobileAccessGateway, status: Status) -> None:
    registered.heard("acc1", mac(1), None, 259.0)
    [refresh] = sent(refresh_due(registered))
    actions = registered.receive(LMAA, accepted(refresh, status=status), 260.02)
    assert Forward(MN, (HNP,), None) in actions
    assert Advertise("acc1", mac(1), (), 0, 1460, withdrawn=(HNP,)) in actions


def test_an_mn_that_left_is_told_nothing(registered: MobileAccessGateway) -> None:
    actions = registered.link_down("acc1", 5.0)
    actions += registered.expire(6.0)
    assert not [action for action in actions if isinstance(action, Advertise)]


# MTU (section 6.9.5).


def test_a_change_of_the_paths_mtu_is_told_at_once_and_from_then_on(registered: MobileAccessGateway) -> None:
    assert registered.path_mtu(LMAA, 1460) == [Advertise("acc1", mac(1), (HNP,), 300, 1460)]
    assert registered.path_mtu(LMAA, 1460) == []
    note, advertisement = registered.path_mtu(LMAA, 1280)
    assert isinstance(note, Note)
    assert advertisement == Advertise("acc1", mac(1), (HNP,), 300, 1280)
    assert registered.solicited("acc1", mac(1), True, 1.0) == [advertisement]
    assert registered.path_mtu(OTHER_LMAA, 1400) == []


def test_an_access_link_may_take_less_than_the_tunnel(registered: MobileAccessGateway) -> None:
    assert registered.link_mtu("acc1", 1300) == [Advertise("acc1", mac(1), (HNP,), 300, 1300)]
    assert registered.link_mtu("acc2", 1290) == []


def test_the_list_finds_who_is_due_however_often_entries_change(mag: MobileAccessGateway) -> None:
    [pbu] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(pbu), 0.01)
    for number in range(500):
        mag.binding_update_list.store(replace(mag.binding_update_list[MN], advertise_at=50.0 + number / 1000))
    assert mag.deadline() == pytest.approx(50.499)
    assert mag.binding_update_list.due(60.0) == [mag.binding_update_list[MN]]


@pytest.mark.parametrize(("managed", "other"), [(False, False), (False, True), (True, True)])
def test_flags_lead_to_dhcpv6_and_away_from_autoconfiguration(managed: bool, other: bool) -> None:
    """Section 6.11, RFC 4861 section 4.2; prefixes that are withdrawn come along."""
    packet = IPv6(build((HNP,), 300, 1460, withdrawn=(SECOND,), flags=(managed, other)))
    advertisement = packet[ICMPv6ND_RA]
    assert (managed, other) == (advertisement.M, advertisement.O)
    kept = packet[ICMPv6NDOptPrefixInfo]
    assert (kept.prefix, kept.validlifetime, kept.A, kept.L) == ("2001:db8:1000::", 300, not managed, 1)
    lost = kept.payload[ICMPv6NDOptPrefixInfo]
    assert (lost.prefix, lost.validlifetime, lost.preferredlifetime) == ("2001:db8:1000:1::", 0, 0)
