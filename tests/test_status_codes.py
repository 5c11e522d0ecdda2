"""Every status of a refusal: the anchor can give it, for this reason, and the gateway knows what to make of it."""

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from itertools import product

import msgspec
import pytest

from common.actions import Advertise, Forward, Note, Send
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingRevocationAck,
    BindingRevocationIndication,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoffIndicator,
    Message,
    ProxyBindingUpdate,
    RevocationFlag,
    RevocationTrigger,
    Status,
    Timestamp,
)
from lmad.lma import LocalMobilityAnchor
from magd.binding_update_list import State
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, lma_config, mac, mag_config, mn_id, utc
from tests.test_lma import HNP, NMAG, PMAG, answer, pbu
from tests.test_mag import accepted, sent

REFUSALS = [status for status in Status if status >= Status.REASON_UNSPECIFIED]
OWN = IPv6Network("2001:db8:77::/64")
STRANGER = IPv6Address("2001:db8::bad")


def without_target(lma: LocalMobilityAnchor) -> Message:
    """A Fast PBU that does not say where the MN goes."""
    return FastProxyBindingUpdate(
        sequence=2,
        lifetime=300,
        mn_id=mn_id(1),
        hnps=(HNP,),
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=mac(1),
        timestamp=Timestamp.from_utc(utc(1.0)),
    )


def of_a_session_that_is_being_revoked(lma: LocalMobilityAnchor) -> Message:
    lma.revoke(mn_id(1), 0.9)
    return pbu(1.0, hnps=(HNP,))


def says(**changes: object) -> Callable[[LocalMobilityAnchor], ProxyBindingUpdate]:
    return lambda _lma: pbu(1.0, **changes)


# MN 1 is registered at PMAG, and may have no other session; MN 2 may not have any, MN 3 has a prefix of its own.
LAST_SEQUENCE = pbu(0.0).sequence
REASONS: dict[Status, tuple[IPv6Address, Callable[[LocalMobilityAnchor], Message]]] = {
    Status.REASON_UNSPECIFIED: (PMAG, without_target),
    Status.ADMINISTRATIVELY_PROHIBITED: (PMAG, of_a_session_that_is_being_revoked),
    Status.INSUFFICIENT_RESOURCES: (
        PMAG,
        says(mn_ll_id=mac(7), handoff_indicator=HandoffIndicator.NEW_INTERFACE),
    ),
    Status.SEQUENCE_OUT_OF_WINDOW: (PMAG, says(timestamp=None, hnps=(HNP,), sequence=LAST_SEQUENCE)),
    Status.PROXY_REG_NOT_ENABLED: (PMAG, says(mn_id=mn_id(2), mn_ll_id=mac(2))),
    Status.NOT_LMA_FOR_THIS_MOBILE_NODE: (PMAG, says(mn_id=mn_id(9), mn_ll_id=mac(9))),
    Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG: (STRANGER, says()),
    Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX: (NMAG, says(mn_id=mn_id(3), mn_ll_id=mac(3), hnps=(HNP,))),
    Status.TIMESTAMP_MISMATCH: (PMAG, says(timestamp=Timestamp.from_utc(utc(9.0)))),
    Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED: (PMAG, says(timestamp=Timestamp.from_utc(utc(-0.1)))),
    Status.MISSING_HOME_NETWORK_PREFIX_OPTION: (PMAG, says(hnps=())),
    Status.BCE_PBU_PREFIX_SET_DO_NOT_MATCH: (PMAG, says(hnps=(HNP, OWN))),
    Status.MISSING_MN_IDENTIFIER_OPTION: (PMAG, says(mn_id=None)),
    Status.MISSING_HANDOFF_INDICATOR_OPTION: (PMAG, says(handoff_indicator=None)),
    Status.MISSING_ACCESS_TECH_TYPE_OPTION: (PMAG, says(access_technology=None)),
}


def anchor() -> LocalMobilityAnchor:
    config = lma_config(mns=3, scheme="fast-handover", max_sessions_per_mobile_node=1)
    first, second, third = config.mobile_node
    nodes = (first, msgspec.structs.replace(second, enabled=False), msgspec.structs.replace(third, prefixes=(OWN,)))
    return LocalMobilityAnchor(msgspec.structs.replace(config, mobile_node=nodes), utc)


@pytest.mark.parametrize("status", REFUSALS, ids=lambda status: status.name)
def test_an_anchor_gives_every_status(status: Status) -> None:
    lma = anchor()
    lma.receive(PMAG, pbu(0.0), 0.0)
    before = list(lma.binding_cache)
    source, ask = REASONS[status]
    request = ask(lma)
    actions = lma.receive(source, request, 1.0)
    [reply] = [each for each in actions if isinstance(each, Send)]
    assert reply.destination == source
    assert isinstance(reply.message, FastProxyBindingAck) or reply.message == answer(actions)
    assert reply.message.status is status
    assert list(lma.binding_cache) == before
    [note] = [each for each in actions if isinstance(each, Note)]
    assert note.event.startswith("refused-")


def test_there_is_a_reason_for_every_status() -> None:
    assert REASONS.keys() == set(REFUSALS)


@pytest.mark.parametrize("status", [*REFUSALS, Status(199)], ids=lambda status: status.name)
def test_a_gateway_gives_no_service_after_any_status(status: Status) -> None:
    """Section 6.9.1.2, 11; what it does instead is in test_mag.py. One that nobody knows is a refusal like others."""
    ordered = status != Status.SEQUENCE_OUT_OF_WINDOW
    mag = MobileAccessGateway(mag_config(1, timestamp_based_approach_in_use=ordered), utc, sequence=7)
    [request] = sent(mag.link_up("acc1", 0.0))
    refused = accepted(request, status=status, lifetime=0, hnps=(ALL_ZERO_PREFIX,))
    actions = mag.receive(LMAA, refused, 0.1)
    assert Note(f"pbu-refused-{int(status)}", mn_id(1), LMAA) in actions
    assert not [each for each in actions if isinstance(each, Advertise | Forward)]
    assert mag.binding_update_list[mn_id(1)].state in (State.REFUSED, State.REGISTERING)
    assert sent(mag.solicited("acc1", mac(1), True, 0.2)) == []


def test_what_neither_side_says_of_a_revocation() -> None:
    """Whatever is asked: nobody here has an IPv4 home address (129), and all bindings are proxies' (135)."""
    said = set()
    for trigger, flags in product(range(256), range(8)):
        bri = BindingRevocationIndication(
            trigger=RevocationTrigger(trigger), sequence=9, flags=RevocationFlag(flags << 13), mn_id=mn_id(1)
        )
        lma, mag = LocalMobilityAnchor(lma_config(), utc), MobileAccessGateway(mag_config(1), utc)
        lma.receive(PMAG, pbu(0.0), 0.0)
        mag.receive(LMAA, accepted(sent(mag.link_up("acc1", 0.0))[0]), 0.1)
        answers = [*lma.receive(PMAG, bri, 1.0), *mag.receive(LMAA, bri, 1.0)]
        said |= {
            each.message.status
            for each in answers
            if isinstance(each, Send) and isinstance(each.message, BindingRevocationAck)
        }
    assert said == {0, *range(128, 136)} - {129, 135}
