"""Which session a request is about, and requests that wait for the old MAG's word (RFC 5213 section 5.4.1)."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

from common.actions import Action, Forward, Forwarding, Note, Send, ToPeer
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    HandoffIndicator,
    ProxyBindingAck,
    RevocationStatus,
    RevocationTrigger,
    Status,
)
from lmad.config import LmadConfig, Mag, MobileNode
from lmad.lma import LocalMobilityAnchor
from tests.domain import lma_config, mac, mag_address, mn_id, utc
from tests.test_lma import HNP, MN, NMAG, PMAG, answer, pbu

SECOND = IPv6Network("2001:db8:1000:1::/64")
THIRD_MAG = mag_address(3)
OTHER = {"mn_ll_id": mac(7)}  # another interface, or one whose identifier is not known to be the same


def anchor(**options: Any) -> LocalMobilityAnchor:
    """With MN 1 at pMAG under its own prefix."""
    lma = LocalMobilityAnchor(lma_config(mags=3, mns=2, **options), utc)
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps == (HNP,)
    return lma


def answers(actions: list[Action]) -> list[ProxyBindingAck]:
    return [each.message for each in actions if isinstance(each, Send) and isinstance(each.message, ProxyBindingAck)]


def indications(actions: list[Action]) -> list[BindingRevocationIndication]:
    sent = [each.message for each in actions if isinstance(each, Send)]
    return [message for message in sent if isinstance(message, BindingRevocationIndication)]


def bra(bri: BindingRevocationIndication, status: RevocationStatus) -> BindingRevocationAck:
    return BindingRevocationAck(status=status, sequence=bri.sequence, mn_id=bri.mn_id)


# 5.4.1.1: by prefix. The session at pMAG has mac(1) on 802.11.
@pytest.mark.parametrize(
    ("changes", "source", "status"),
    [
        ({}, NMAG, Status.ACCEPTED),  # identifier and technology match
        ({"access_technology": AccessTechnologyType.IEEE_802_3}, NMAG, Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX),
        (OTHER, NMAG, Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX),  # a new session cannot have the prefix, too
        (OTHER | {"handoff_indicator": HandoffIndicator.BETWEEN_INTERFACES}, NMAG, Status.ACCEPTED),
        (OTHER, PMAG, Status.ACCEPTED),  # Proxy-CoA and technology match
        (
            {"mn_ll_id": None, "handoff_indicator": HandoffIndicator.BETWEEN_MAGS},
            NMAG,
            Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX,  # the session has an identifier
        ),
        ({"hnps": (HNP, SECOND)}, NMAG, Status.BCE_PBU_PREFIX_SET_DO_NOT_MATCH),
        ({"hnps": (HNP, HNP)}, NMAG, Status.BCE_PBU_PREFIX_SET_DO_NOT_MATCH),
        ({"hnps": (HNP, ALL_ZERO_PREFIX)}, NMAG, Status.BCE_PBU_PREFIX_SET_DO_NOT_MATCH),
        ({"mn_id": mn_id(2)}, NMAG, Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX),
    ],
)
def test_lookup_by_prefix(changes: dict[str, object], source: IPv6Address, status: Status) -> None:
    lma = anchor()
    assert answer(lma.receive(source, pbu(1.0, **{"hnps": (HNP,)} | changes), 1.0)).status == status
    assert len(lma.binding_cache) == 1


def test_lookup_by_prefix_without_identifier_on_either_side() -> None:
    lma = LocalMobilityAnchor(lma_config(), utc)
    lma.receive(PMAG, pbu(0.0, mn_ll_id=None), 0.0)
    moved = pbu(1.0, mn_ll_id=None, hnps=(HNP,), handoff_indicator=HandoffIndicator.BETWEEN_MAGS)
    assert answer(lma.receive(NMAG, moved, 1.0)).status == Status.ACCEPTED
    assert [bce.proxy_coa for bce in lma.binding_cache] == [NMAG]


# 5.4.1.2 and 5.4.1.3: without a prefix; None stands for the request that waits.
@pytest.mark.parametrize(
    ("changes", "hnps"),
    [
        ({"handoff_indicator": HandoffIndicator.NEW_INTERFACE}, HNP),  # MN-ID, technology and identifier match
        (OTHER | {"handoff_indicator": HandoffIndicator.NEW_INTERFACE}, SECOND),
        (OTHER | {"handoff_indicator": HandoffIndicator.BETWEEN_INTERFACES}, HNP),
        (OTHER | {"handoff_indicator": HandoffIndicator.BETWEEN_MAGS}, SECOND),
        (OTHER | {"handoff_indicator": HandoffIndicator.UNKNOWN}, None),
        (OTHER | {"handoff_indicator": HandoffIndicator.NOT_CHANGED}, SECOND),
        (OTHER | {"handoff_indicator": HandoffIndicator.NEW_INTERFACE_SHARING_PREFIXES}, SECOND),
        ({"access_technology": AccessTechnologyType.IEEE_802_3, "handoff_indicator": HandoffIndicator(1)}, SECOND),
        ({"mn_ll_id": None, "handoff_indicator": HandoffIndicator.NEW_INTERFACE}, SECOND),
        ({"mn_ll_id": None, "handoff_indicator": HandoffIndicator.BETWEEN_INTERFACES}, HNP),
        ({"mn_ll_id": None, "handoff_indicator": HandoffIndicator.BETWEEN_MAGS}, HNP),
        ({"mn_ll_id": None, "handoff_indicator": HandoffIndicator.UNKNOWN}, None),
        ({"mn_ll_id": None, "handoff_indicator": HandoffIndicator.NOT_CHANGED}, SECOND),
    ],
)
def test_lookup_without_prefix(changes: dict[str, object], hnps: IPv6Network | None) -> None:
    found = answers(anchor().receive(NMAG, pbu(1.0, **changes), 1.0))
    assert [pba.hnps for pba in found] == ([(hnps,)] if hnps else [])


def test_two_sessions_are_each_their_own() -> None:
    """Prefixes, lifetimes and ends of one interface have nothing to do with those of another (section 5.4)."""
    lma = anchor()
    second = OTHER | {"handoff_indicator": HandoffIndicator.NEW_INTERFACE}
    assert answer(lma.receive(NMAG, pbu(1.0, lifetime=100, **second), 1.0)).hnps == (SECOND,)
    # Which of the two an unknown one could be nobody can say: a new session.
    third = pbu(2.0, mn_ll_id=mac(8))
    assert answer(lma.receive(THIRD_MAG, third, 2.0)).hnps == (IPv6Network("2001:db8:1000:2::/64"),)
    lma.receive(NMAG, pbu(3.0, lifetime=0, hnps=(SECOND,), **second), 3.0)
    assert [bce.state.value for bce in lma.binding_cache] == ["registered", "de-registered", "registered"]
    lma.expire(13.0)
    assert [bce.key for bce in lma.binding_cache] == [HNP, IPv6Network("2001:db8:1000:2::/64")]


@pytest.mark.parametrize("changes", [OTHER, {"mn_ll_id": None, "handoff_indicator": HandoffIndicator.NEW_INTERFACE}])
def test_deregistration_of_no_session_is_silently_ignored(changes: dict[str, object]) -> None:
    lma = anchor()
    actions = lma.receive(NMAG, pbu(1.0, lifetime=0, **changes), 1.0)
    assert actions == [Note("deregistration-ignored", MN, NMAG)]


def test_deregistration_with_somebody_elses_prefix_is_refused() -> None:
    lma = anchor()
    actions = lma.receive(NMAG, pbu(1.0, mn_id=mn_id(2), lifetime=0, hnps=(HNP,)), 1.0)
    assert answer(actions).status == Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX


# 5.4.1.2 point 4: waiting for a de-registration.


def test_wait_ends_with_the_deregistration() -> None:
    lma = anchor(revoke_on_unknown_handoff=False)
    # nMAG --> LMA  PBU, unknown handoff: no answer yet
    assert lma.receive(NMAG, pbu(1.0, **OTHER), 1.0) == [Note("waits-for-deregistration", MN, PMAG)]
    # nMAG --> LMA  the same again
    assert lma.receive(NMAG, pbu(2.0, sequence=2, **OTHER), 2.0) == []
    # pMAG --> LMA  PBU lifetime 0
    lma.receive(PMAG, pbu(2.1, lifetime=0, hnps=(HNP,)), 2.1)
    assert lma.deadline() is not None
    actions = lma.expire(2.1)
    assert Forward(MN, (HNP,), Forwarding(ToPeer(NMAG))) in actions
    assert (answer(actions).hnps, answer(actions).sequence) == ((HNP,), 2)
    assert [bce.mn_ll_id for bce in lma.binding_cache] == [mac(7)]
    # What nMAG says next is later than all that was accepted, pMAG's PBU included.
    assert answer(lma.receive(NMAG, pbu(2.05, hnps=(HNP,), **OTHER), 2.2)).status == 157


def test_wait_that_is_over_makes_a_new_session() -> None:
    lma = anchor(revoke_on_unknown_handoff=False)
    lma.receive(NMAG, pbu(1.0, **OTHER), 1.0)
    assert lma.expire(2.4) == []
    assert lma.deadline() == 2.5  # MaxDelayBeforeNewBCEAssign
    assert answer(lma.expire(2.5)).hnps == (SECOND,)
    assert [bce.proxy_coa for bce in lma.binding_cache] == [PMAG, NMAG]


def test_no_wait_when_the_operator_wants_none() -> None:
    lma = anchor(revoke_on_unknown_handoff=False, max_delay_before_new_bce_assign=0)
    assert answer(lma.receive(NMAG, pbu(1.0, **OTHER), 1.0)).hnps == (SECOND,)


def test_wait_of_an_mn_that_leaves_again() -> None:
    lma = anchor(revoke_on_unknown_handoff=False)
    lma.receive(NMAG, pbu(1.0, **OTHER), 1.0)
    lma.receive(NMAG, pbu(1.2, lifetime=0, **OTHER), 1.2)
    assert lma.expire(2.5) == []
    assert len(lma.binding_cache) == 1


def test_deregistered_session_is_taken_over_without_a_wait() -> None:
    lma = anchor(revoke_on_unknown_handoff=False)
    lma.receive(PMAG, pbu(1.0, lifetime=0, hnps=(HNP,)), 1.0)
    assert answer(lma.receive(NMAG, pbu(1.1, **OTHER), 1.1)).hnps == (HNP,)


def test_two_that_wait_for_one_session() -> None:
    lma = anchor(revoke_on_unknown_handoff=False)
    lma.receive(NMAG, pbu(1.0, **OTHER), 1.0)
    lma.receive(THIRD_MAG, pbu(1.1, mn_ll_id=mac(8)), 1.1)
    lma.receive(PMAG, pbu(1.2, lifetime=0, hnps=(HNP,)), 1.2)
    assert answer(lma.expire(1.2)).hnps == (HNP,)
    assert answers(lma.expire(1.2)) == []  # for it is nMAG's now
    assert answer(lma.expire(2.6)).hnps == (SECOND,)


@pytest.mark.parametrize(
    ("status", "hnps"),
    [
        (RevocationStatus.SUCCESS, HNP),
        (RevocationStatus.BINDING_DOES_NOT_EXIST, HNP),
        (RevocationStatus.MN_IS_ATTACHED, SECOND),
    ],
)
def test_old_mag_is_asked_instead(status: RevocationStatus, hnps: IPv6Network) -> None:
    """RFC 5846 section 8.1."""
    lma = anchor()
    [bri] = indications(lma.receive(NMAG, pbu(1.0, **OTHER), 1.0))
    assert (bri.trigger, bri.mn_id, bri.hnps) == (RevocationTrigger.HANDOVER_UNKNOWN, MN, (HNP,))
    assert indications(lma.receive(NMAG, pbu(2.0, sequence=2, **OTHER), 2.0)) == []  # asked once
    assert lma.receive(NMAG, bra(bri, status), 2.1) == [Note("bra-without-bri", MN, NMAG)]  # not nMAG's to say
    lma.receive(PMAG, bra(bri, status), 2.1)
    assert answer(lma.expire(2.1)).hnps == (hnps,)


def test_old_mag_that_does_not_answer() -> None:
    lma = anchor()
    [bri] = indications(lma.receive(NMAG, pbu(1.0, **OTHER), 1.0))
    assert lma.expire(2.0) == [Send(PMAG, bri)]  # InitMINDelayBRIs; the same BRI once more
    assert lma.deadline() == 4.0  # twice that
    assert lma.expire(4.0) == [Note("revocation-unanswered", MN, PMAG)]
    assert answer(lma.expire(4.0)).hnps == (SECOND,)


@pytest.mark.parametrize("cannot", [BindingError(status=2), None])
def test_old_mag_that_cannot_be_asked(cannot: BindingError | None) -> None:
    """Then its de-registration is waited for as if nobody had asked."""
    lma = anchor()
    [bri] = indications(lma.receive(NMAG, pbu(1.0, **OTHER), 1.0))
    lma.receive(PMAG, cannot or bra(bri, RevocationStatus.FUNCTION_NOT_SUPPORTED), 1.1)
    assert answers(lma.expire(2.4)) == []
    assert answer(lma.expire(2.5)).hnps == (SECOND,)


# 5.3.2: prefixes.


def with_nodes(*nodes: MobileNode, **options: Any) -> LocalMobilityAnchor:
    config = lma_config(**options)
    mags = (Mag(address=PMAG), Mag(address=NMAG))
    return LocalMobilityAnchor(LmadConfig(lma=config.lma, mag=mags, mobile_node=nodes), utc)


def test_several_prefixes_of_the_pools_move_together() -> None:
    lma = with_nodes(MobileNode(mn_id=str(MN), prefix_count=3), MobileNode(mn_id=str(mn_id(2))), prefix_count=2)
    three = tuple(IPv6Network((int(HNP.network_address) + (n << 64), 64)) for n in range(3))
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps == three
    assert len(answer(lma.receive(PMAG, pbu(0.0, mn_id=mn_id(2), mn_ll_id=mac(2)), 0.0)).hnps) == 2
    actions = lma.receive(NMAG, pbu(1.0), 1.0)
    assert actions[0] == Forward(MN, three, Forwarding(ToPeer(NMAG)))
    assert answer(actions).hnps == three


def test_pool_with_less_than_was_asked_for() -> None:
    lma = with_nodes(MobileNode(mn_id=str(MN)), prefix_count=3, prefix_pools=(IPv6Network("2001:db8:1000::/63"),))
    assert len(answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps) == 2
    other = pbu(1.0, handoff_indicator=HandoffIndicator.NEW_INTERFACE, **OTHER)
    assert answer(lma.receive(PMAG, other, 1.0)).status == Status.INSUFFICIENT_RESOURCES


def test_second_interface_of_an_mn_with_a_prefix_of_its_own() -> None:
    fixed = IPv6Network("2001:db8:77::/64")
    lma = with_nodes(MobileNode(mn_id=str(MN), prefixes=(fixed,)))
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps == (fixed,)
    other = pbu(1.0, handoff_indicator=HandoffIndicator.NEW_INTERFACE, **OTHER)
    assert answer(lma.receive(PMAG, other, 1.0)).hnps == (HNP,)


def test_session_that_the_anchor_has_forgotten_is_the_same_again() -> None:
    """A MAG that re-registers names the prefixes it knows."""
    lma = LocalMobilityAnchor(lma_config(mns=2), utc)
    assert answer(lma.receive(PMAG, pbu(0.0, hnps=(SECOND,)), 0.0)).hnps == (SECOND,)
    # Nobody else gets it, neither by its name nor by chance.
    taken = pbu(1.0, mn_id=mn_id(2), mn_ll_id=mac(2), hnps=(SECOND,))
    assert answer(lma.receive(PMAG, taken, 1.0)).status == Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX
    two = replace(taken, hnps=(HNP, IPv6Network("2001:db8:1000:5::/64")))
    assert answer(lma.receive(PMAG, two, 1.0)).status == Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX
    for number, prefix in ((1, HNP), (2, IPv6Network("2001:db8:1000:2::/64"))):
        new = pbu(1.0 + number, mn_id=mn_id(2), mn_ll_id=mac(7 + number), handoff_indicator=HandoffIndicator(1))
        assert answer(lma.receive(PMAG, new, 1.0 + number)).hnps == (prefix,)


@pytest.mark.parametrize("limit", [{"max_bindings": 2}, {"max_sessions_per_mobile_node": 2}])
def test_limits_refuse(limit: dict[str, int]) -> None:
    lma = anchor(**limit)
    for number, status in ((7, Status.ACCEPTED), (8, Status.INSUFFICIENT_RESOURCES)):
        request = pbu(float(number), mn_ll_id=mac(number), handoff_indicator=HandoffIndicator.NEW_INTERFACE)
        assert answer(lma.receive(NMAG, request, float(number))).status == status
    assert len(lma.binding_cache) == 2
    assert answer(lma.receive(NMAG, pbu(9.0), 9.0)).status == Status.ACCEPTED  # what is there goes on


def test_mag_that_may_not_register_this_mn() -> None:
    lma = with_nodes(MobileNode(mn_id=str(MN), mags=(PMAG,)))
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).status == Status.ACCEPTED
    for request in (pbu(1.0), pbu(1.0, alternate_coa=PMAG)):
        assert answer(lma.receive(NMAG, request, 1.0)).status == Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG
    through = pbu(1.0, alternate_coa=NMAG)
    assert answer(lma.receive(PMAG, through, 1.0)).status == Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG


# 5.5: order by sequence number.


def test_sequence_numbers_are_of_the_session_not_of_the_mag() -> None:
    lma = LocalMobilityAnchor(lma_config(), utc)
    lma.receive(PMAG, pbu(0.0, timestamp=None, sequence=100), 0.0)
    late = answer(lma.receive(NMAG, pbu(1.0, timestamp=None, sequence=100), 1.0))
    # RFC 6275 9.5.1: the last accepted number, so that nMAG can go on from it
    assert (late.status, late.sequence) == (Status.SEQUENCE_OUT_OF_WINDOW, 100)
    assert answer(lma.receive(NMAG, pbu(2.0, timestamp=None, sequence=101), 2.0)).status == Status.ACCEPTED
    other = pbu(3.0, timestamp=None, sequence=5, handoff_indicator=HandoffIndicator.NEW_INTERFACE, **OTHER)
    assert answer(lma.receive(NMAG, other, 3.0)).status == Status.ACCEPTED  # another session counts for itself
