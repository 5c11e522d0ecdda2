"""The anchor's core alone: messages in, actions out, `now` a number."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.actions import Action, Drop, Forward, Forwarding, Note, Send, ToPeer
from common.errors import DataPlaneError
from common.mh.messages import (
    ALL_ZERO_ADDRESS,
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingError,
    HandoffIndicator,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
)
from lmad.config import Lma, LmadConfig, Mag, MobileNode
from lmad.hnp_pool import HnpPool
from lmad.lma import LocalMobilityAnchor
from tests.domain import LMAA, POOL, lma_config, mac, mag_address, mn_id, utc

PMAG, NMAG = mag_address(1), mag_address(2)
HNP = IPv6Network("2001:db8:1000::/64")
MN = mn_id(1)


def pbu(now: float, **changes: object) -> ProxyBindingUpdate:
    request = ProxyBindingUpdate(
        sequence=1,
        lifetime=300,
        mn_id=MN,
        hnps=(ALL_ZERO_PREFIX,),
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=mac(1),
        timestamp=Timestamp.from_utc(utc(now)),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def answer(actions: list[Action]) -> ProxyBindingAck:
    [pba] = [a.message for a in actions if isinstance(a, Send) and isinstance(a.message, ProxyBindingAck)]
    return pba


def without_notes(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Note)]


@pytest.fixture
def lma() -> LocalMobilityAnchor:
    return LocalMobilityAnchor(lma_config(mags=2, mns=2), utc)


@pytest.fixture
def registered(lma: LocalMobilityAnchor) -> LocalMobilityAnchor:
    lma.receive(PMAG, pbu(0.0), 0.0)
    return lma


def test_initial_registration_installs_the_path_before_it_answers(lma: LocalMobilityAnchor) -> None:
    request = pbu(0.0)
    # pMAG --> LMA  PBU
    actions = lma.receive(PMAG, request, 0.0)
    assert actions == [
        Forward(MN, (HNP,), Forwarding(ToPeer(PMAG))),
        Send(
            PMAG,
            ProxyBindingAck(
                status=Status.ACCEPTED,
                sequence=1,
                lifetime=300,
                mn_id=MN,
                hnps=(HNP,),
                handoff_indicator=HandoffIndicator.UNKNOWN,
                access_technology=AccessTechnologyType.IEEE_802_11,
                mn_ll_id=mac(1),
                timestamp=request.timestamp,
            ),
        ),
    ]
    assert lma.binding_cache.deadline() == 300.0


def test_refresh_extends_and_touches_no_path(registered: LocalMobilityAnchor) -> None:
    actions = registered.receive(PMAG, pbu(100.0, hnps=(HNP,), handoff_indicator=HandoffIndicator.NOT_CHANGED), 100.0)
    assert [type(action) for action in actions] == [Send]
    assert registered.binding_cache.deadline() == 400.0


def test_handoff_after_deregistration(registered: LocalMobilityAnchor) -> None:
    # pMAG --> LMA  PBU lifetime 0
    actions = registered.receive(PMAG, pbu(5.0, lifetime=0, sequence=2, hnps=(HNP,)), 5.0)
    assert actions[0] == Forward(MN, (HNP,), Forwarding(Drop()))
    assert (answer(actions).status, answer(actions).lifetime) == (Status.ACCEPTED, 0)
    assert registered.binding_cache.deadline() == 15.0
    # nMAG --> LMA  PBU
    actions = registered.receive(NMAG, pbu(5.2), 5.2)
    assert actions[0] == Forward(MN, (HNP,), Forwarding(ToPeer(NMAG)))
    assert answer(actions).hnps == (HNP,)
    assert registered.binding_cache.deadline() == 305.2


def test_handoff_without_deregistration_and_the_late_one_is_ignored(registered: LocalMobilityAnchor) -> None:
    assert registered.receive(NMAG, pbu(5.0), 5.0)[0] == Forward(MN, (HNP,), Forwarding(ToPeer(NMAG)))
    # pMAG --> LMA  PBU lifetime 0, sent after nMAG's PBU: it is not the serving MAG, 5.3.5-1: no answer
    actions = registered.receive(PMAG, pbu(5.1, lifetime=0, hnps=(HNP,)), 5.1)
    assert actions == [Note("deregistration-ignored", MN, PMAG)]
    # ... and one that was sent before but came later is old
    actions = registered.receive(PMAG, pbu(4.9, lifetime=0, hnps=(HNP,)), 5.2)
    assert answer(actions).status == Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED


def test_deregistered_binding_is_deleted_after_the_delay_and_its_prefix_is_free(
    registered: LocalMobilityAnchor,
) -> None:
    registered.receive(PMAG, pbu(5.0, lifetime=0, hnps=(HNP,)), 5.0)
    assert registered.expire(14.999) == []
    assert without_notes(registered.expire(15.0)) == [Forward(MN, (HNP,), None)]
    assert len(registered.binding_cache) == 0
    assert registered.binding_cache.deadline() == inf


def test_lifetime_runs_out(registered: LocalMobilityAnchor) -> None:
    assert registered.expire(300.0) == [Forward(MN, (HNP,), None), Note("registered-binding-expired", MN, PMAG)]


def test_lifetime_is_limited() -> None:
    lma = LocalMobilityAnchor(lma_config(max_lifetime=120), utc)
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).lifetime == 120


@pytest.mark.parametrize(
    ("source", "changes", "status"),
    [
        (PMAG, {"mn_id": None}, Status.MISSING_MN_IDENTIFIER_OPTION),
        (IPv6Address("2001:db8::bad"), {}, Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG),
        (PMAG, {"alternate_coa": IPv6Address("2001:db8::bad")}, Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG),
        (PMAG, {"mn_id": mn_id(9)}, Status.NOT_LMA_FOR_THIS_MOBILE_NODE),
        (PMAG, {"timestamp": Timestamp.from_utc(utc(-0.4))}, Status.TIMESTAMP_MISMATCH),
        (PMAG, {"timestamp": Timestamp.from_utc(utc(0.4))}, Status.TIMESTAMP_MISMATCH),
        (PMAG, {"hnps": ()}, Status.MISSING_HOME_NETWORK_PREFIX_OPTION),
        (PMAG, {"handoff_indicator": None}, Status.MISSING_HANDOFF_INDICATOR_OPTION),
        (PMAG, {"access_technology": None}, Status.MISSING_ACCESS_TECH_TYPE_OPTION),
        (PMAG, {"hnps": (IPv6Network("2001:db8:9::/64"),)}, Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX),
    ],
)
def test_refusals(lma: LocalMobilityAnchor, source: IPv6Address, changes: dict[str, object], status: Status) -> None:
    request = pbu(0.0, **changes)
    actions = lma.receive(source, request, 0.0)
    assert not [action for action in actions if isinstance(action, Forward)]
    assert answer(actions).status == status
    assert answer(actions).mn_id == (request.mn_id or MnId(1, b""))
    assert answer(actions).hnps == (request.hnps or (ALL_ZERO_PREFIX,))
    assert len(lma.binding_cache) == 0


def test_checks_are_made_in_the_order_that_is_a_must(lma: LocalMobilityAnchor) -> None:
    """RFC 5213 5.3.1: with everything wrong at once, what is mended first is what is refused first."""
    wrong: dict[str, object] = {
        "mn_id": None,
        "timestamp": Timestamp(0),
        "hnps": (),
        "handoff_indicator": None,
        "access_technology": None,
    }
    source = IPv6Address("2001:db8::bad")
    seen = [answer(lma.receive(source, pbu(0.0, **wrong), 0.0)).status]
    wrong["mn_id"] = mn_id(9)
    seen.append(answer(lma.receive(source, pbu(0.0, **wrong), 0.0)).status)
    seen.append(answer(lma.receive(PMAG, pbu(0.0, **wrong), 0.0)).status)
    wrong["mn_id"] = MN
    for mended in ("timestamp", "hnps", "handoff_indicator", "access_technology"):
        seen.append(answer(lma.receive(PMAG, pbu(0.0, **wrong), 0.0)).status)
        del wrong[mended]
    seen.append(answer(lma.receive(PMAG, pbu(0.0, **wrong), 0.0)).status)
    assert seen == [160, 154, 153, 156, 158, 161, 162, 0]


def test_a_refused_timestamp_is_answered_with_the_clock_of_the_lma(lma: LocalMobilityAnchor) -> None:
    pba = answer(lma.receive(PMAG, pbu(0.0, timestamp=Timestamp(77)), 3.0))
    assert pba.timestamp == Timestamp.from_utc(utc(3.0))


def test_sequence_numbers_order_when_there_is_no_timestamp(lma: LocalMobilityAnchor) -> None:
    lma.receive(PMAG, pbu(0.0, timestamp=None, sequence=65535), 0.0)
    for sequence, status in ((65535, Status.SEQUENCE_OUT_OF_WINDOW), (0, Status.ACCEPTED), (65000, 135)):
        pba = answer(lma.receive(PMAG, pbu(1.0, timestamp=None, sequence=sequence, hnps=(HNP,)), 1.0))
        assert pba.status == status
        assert pba.timestamp is None


def test_not_entitled_mobile_node() -> None:
    config = LmadConfig(
        lma=Lma(address=LMAA, prefix_pools=(POOL,)),
        mag=(Mag(address=PMAG),),
        mobile_node=(MobileNode(mn_id=str(MN), enabled=False),),
    )
    lma = LocalMobilityAnchor(config, utc)
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).status == Status.PROXY_REG_NOT_ENABLED


def test_pool_that_ran_out() -> None:
    lma = LocalMobilityAnchor(lma_config(mns=2, prefix_pools=(HNP,)), utc)
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps == (HNP,)
    second = pbu(0.0, mn_id=mn_id(2), mn_ll_id=mac(2))
    assert answer(lma.receive(PMAG, second, 0.0)).status == Status.INSUFFICIENT_RESOURCES
    lma.expire(300.0)
    second = pbu(300.0, mn_id=mn_id(2), mn_ll_id=mac(2))
    assert answer(lma.receive(PMAG, second, 300.0)).hnps == (HNP,)


def test_fixed_prefixes() -> None:
    fixed = (IPv6Network("2001:db8:77::/64"), IPv6Network("2001:db8:78::/64"))
    config = LmadConfig(
        lma=Lma(address=LMAA), mag=(Mag(address=PMAG),), mobile_node=(MobileNode(mn_id=str(MN), prefixes=fixed),)
    )
    lma = LocalMobilityAnchor(config, utc)
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps == fixed
    assert answer(lma.receive(PMAG, pbu(1.0, hnps=fixed[:1]), 1.0)).status == Status.BCE_PBU_PREFIX_SET_DO_NOT_MATCH


def test_somebody_elses_prefix(registered: LocalMobilityAnchor) -> None:
    request = pbu(1.0, mn_id=mn_id(2), mn_ll_id=mac(2), hnps=(HNP,))
    assert answer(registered.receive(PMAG, request, 1.0)).status == Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX


def test_second_interface_gets_a_session_of_its_own(registered: LocalMobilityAnchor) -> None:
    request = pbu(1.0, mn_ll_id=mac(7), handoff_indicator=HandoffIndicator.NEW_INTERFACE)
    assert answer(registered.receive(NMAG, request, 1.0)).hnps == (IPv6Network("2001:db8:1000:1::/64"),)
    assert len(registered.binding_cache) == 2


def test_handoff_between_interfaces_moves_the_session(registered: LocalMobilityAnchor) -> None:
    request = pbu(1.0, mn_ll_id=mac(7), handoff_indicator=HandoffIndicator.BETWEEN_INTERFACES)
    assert answer(registered.receive(NMAG, request, 1.0)).hnps == (HNP,)
    assert [bce.mn_ll_id for bce in registered.binding_cache] == [mac(7)]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [(None, None), (ALL_ZERO_ADDRESS, "fe80::200:5eff:fe00:5213"), (IPv6Address("fe80::7"), "fe80::7")],
)
def test_link_local_address_option(lma: LocalMobilityAnchor, asked: IPv6Address | None, answered: str | None) -> None:
    pba = answer(lma.receive(PMAG, pbu(0.0, link_local=asked), 0.0))
    assert pba.link_local == (IPv6Address(answered) if answered else None)


def test_alternate_care_of_address_is_the_proxy_coa_and_the_answer_goes_to_the_source(
    lma: LocalMobilityAnchor,
) -> None:
    actions = lma.receive(PMAG, pbu(0.0, alternate_coa=NMAG), 0.0)
    assert actions[0] == Forward(MN, (HNP,), Forwarding(ToPeer(NMAG)))
    assert isinstance(actions[1], Send)
    assert actions[1].destination == PMAG


def test_kernel_that_refuses_a_new_path_makes_a_refusal(lma: LocalMobilityAnchor) -> None:
    forward = lma.receive(PMAG, pbu(0.0), 0.0)[0]
    assert isinstance(forward, Forward)
    actions = lma.forwarding_failed(forward, DataPlaneError("no buffer space"), 0.0)
    assert without_notes(actions)[0] == Forward(MN, (HNP,), None)
    assert answer(actions).status == Status.INSUFFICIENT_RESOURCES
    assert len(lma.binding_cache) == 0
    assert lma.binding_cache.deadline() == inf


def test_kernel_that_refuses_a_handoff_leaves_the_old_path(registered: LocalMobilityAnchor) -> None:
    forward = registered.receive(NMAG, pbu(1.0), 1.0)[0]
    assert isinstance(forward, Forward)
    actions = registered.forwarding_failed(forward, DataPlaneError("no buffer space"), 1.0)
    assert without_notes(actions)[0] == Forward(MN, (HNP,), Forwarding(ToPeer(PMAG)))
    assert answer(actions).status == Status.INSUFFICIENT_RESOURCES
    assert [bce.proxy_coa for bce in registered.binding_cache] == [PMAG]
    assert registered.binding_cache.deadline() == 300.0


def test_binding_error_is_noted(lma: LocalMobilityAnchor) -> None:
    assert lma.receive(PMAG, BindingError(status=2), 0.0) == [Note("unexpected-BE", peer=PMAG, detail="status 2")]


def test_a_mobile_node_finds_its_prefix_again(registered: LocalMobilityAnchor) -> None:
    registered.expire(300.0)
    second = pbu(301.0, mn_id=mn_id(2), mn_ll_id=mac(2))
    assert answer(registered.receive(PMAG, second, 301.0)).hnps == (IPv6Network("2001:db8:1000:1::/64"),)
    assert answer(registered.receive(PMAG, pbu(302.0), 302.0)).hnps == (HNP,)


prefixes_of_pool = [IPv6Network((0x2001_0DB8_1000_0000 + number << 64, 64)) for number in range(4)]


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from([0, 1, 2, 3]), st.sampled_from([None, *range(4)]))))
def test_prefixes_have_one_owner_at_a_time(history: list[tuple[int, int, int | None]]) -> None:
    """MNs ask for some prefixes, or for one by its name, or (0) give all back; a pool of four for six of them."""
    pool = HnpPool([IPv6Network("2001:db8:1000::/62")], 64)
    owned: dict[int, list[IPv6Network]] = {mn: [] for mn in range(1, 7)}
    last: dict[IPv6Network, int] = {}
    for mn, count, named in history:
        taken = [each for prefixes in owned.values() for each in prefixes]
        if not count:
            for prefix in owned[mn]:
                pool.release(prefix)
            owned[mn] = []
            continue
        if named is None:
            given = list(pool.allocate(mn_id(mn), count))
            assert len(given) == min(count, 4 - len(taken))
        else:
            prefix = prefixes_of_pool[named]
            given = [prefix] if pool.claim(prefix, mn_id(mn)) else []
            assert bool(given) == (prefix not in taken and last.get(prefix, mn) == mn)
        assert not set(given) & set(taken)
        owned[mn] += given
        last |= dict.fromkeys(given, mn)


@pytest.mark.parametrize("prefix", ["2001:db8:1000:1::/64", "2001:db8:1000::/60", "2001:db8:9::/64"])
def test_what_is_not_the_pools_to_give(prefix: str) -> None:
    pool = HnpPool([IPv6Network("2001:db8:1000::/62")], 64, [IPv6Network("2001:db8:1000:1::/64")])
    assert not pool.claim(IPv6Network(prefix), MN)


def test_timestamps_of_mobile_nodes_need_only_rise() -> None:
    lma = LocalMobilityAnchor(lma_config(mobile_node_generated_timestamp_in_use=True), utc)
    assert answer(lma.receive(PMAG, pbu(0.0, timestamp=Timestamp(7)), 0.0)).status is Status.ACCEPTED
    refusal = answer(lma.receive(PMAG, pbu(1.0, timestamp=Timestamp(7), hnps=(HNP,)), 1.0))
    assert refusal.status is Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED


def test_timestamps_that_are_not_in_use_order_nothing() -> None:
    lma = LocalMobilityAnchor(lma_config(timestamp_based_approach_in_use=False), utc)
    assert answer(lma.receive(PMAG, pbu(0.0, timestamp=Timestamp(7)), 0.0)).status is Status.ACCEPTED
    refusal = answer(lma.receive(PMAG, pbu(1.0, hnps=(HNP,)), 1.0))
    assert refusal.status is Status.SEQUENCE_OUT_OF_WINDOW
