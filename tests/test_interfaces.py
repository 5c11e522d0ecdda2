"""MNs with two interfaces, each a session of its own (RFC 5213 section 5.4), where handovers begin and end."""

from ipaddress import IPv6Address, IPv6Network

import msgspec
import pytest

from common.actions import Action, Forwarding, Send, Solicit, ToAccess
from common.config import LinkLayerId
from common.mh.bodies import body_of
from common.mh.messages import (
    AccessTechnologyType,
    AckFlag,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoffIndicator,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    Status,
    Timestamp,
)
from magd.binding_update_list import SERVED, State
from magd.config import FastHandover as FastHandoverSection
from magd.config import Fpmipv6, Mag, MagdConfig, MobileNode
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, mac, mag_address, mn_id, utc
from tests.test_mag import HNP, accepted, sent

MN = mn_id(1)
NMAG = mag_address(2)
PREFIXES = {1: HNP, 2: IPv6Network("2001:db8:1000:1::/64")}


def made(scheme: str, *, numbers: tuple[int, ...] = (1, 2), shared: bool) -> MagdConfig:
    """`numbers`: the interfaces that have a profile."""
    links = ("acc1",) if shared else ("acc1", "acc2")
    nodes = tuple(
        MobileNode(mn_id=str(MN), ll_id=LinkLayerId(mac(number)), interface=None if shared else f"acc{number}")
        for number in numbers
    )
    mag = Mag(address=mag_address(1), lma=LMAA, access_interfaces=links, scheme=scheme)
    return MagdConfig(mag=mag, fast_handover=FastHandoverSection(neighbours=(NMAG,)), mobile_node=nodes)


def answer_all(mag: MobileAccessGateway, actions: list[Action], now: float) -> None:
    """The LMA takes whatever is asked of it."""
    for action in actions:
        if not isinstance(action, Send):
            continue
        request = action.message
        if isinstance(request, FastProxyBindingUpdate):
            pba = accepted(request, hnps=request.hnps)  # type: ignore[arg-type]
            mag.receive(LMAA, FastProxyBindingAck(**body_of(pba)), now)
            continue
        [request] = sent([action])
        assert request.mn_ll_id is not None
        flags = AckFlag.PROXY | (AckFlag(0) if request.lifetime else AckFlag.CONTEXT)
        pba = accepted(request, hnps=(PREFIXES[request.mn_ll_id[-1]],), flags=flags)
        mag.receive(LMAA, pba, now)


@pytest.mark.parametrize("scheme", ["context-reflector", "fast-handover"])
def test_both_are_served_again_when_the_announced_handover_does_not_happen(scheme: str) -> None:
    mag = MobileAccessGateway(made(scheme, shared=True), utc)
    for number in PREFIXES:
        answer_all(mag, mag.solicited("acc1", mac(number), True, 0.0), 0.01)
    answer_all(mag, mag.handover(MN, NMAG, 1.0), 1.01)
    assert {entry.state for entry in mag.binding_update_list.of(MN)} == {State.LEFT}
    deadline = mag.deadline()
    assert deadline is not None
    asked = mag.expire(deadline)
    assert {each.mn_ll_id for each in asked if isinstance(each, Solicit)} == {mac(1), mac(2)}
    for number in PREFIXES:
        answer_all(mag, mag.heard("acc1", mac(number), None, deadline), deadline + 0.01)
    served = {entry.hnps[0] for entry in mag.binding_update_list.of(MN) if entry.state in SERVED}
    assert served == set(PREFIXES.values())
    after = mag.deadline()
    assert after is not None
    assert after > deadline


def test_an_interface_that_has_no_profile_any_more_is_de_registered() -> None:
    mag = MobileAccessGateway(made("pmipv6", shared=True), utc)
    for number in PREFIXES:
        answer_all(mag, mag.solicited("acc1", mac(number), True, 0.0), 0.01)
    [farewell] = sent(mag.follow(made("pmipv6", numbers=(1,), shared=True), 1.0))
    assert (farewell.mn_ll_id, farewell.lifetime) == (mac(2), 0)


@pytest.mark.parametrize("here", [1, 2])
def test_a_reverse_pbu_is_about_one_of_them(here: int) -> None:
    """The other one is here already, and stays as it is."""
    mag = MobileAccessGateway(made("fast-handover", shared=False), utc)
    answer_all(mag, mag.link_up(f"acc{here}", 0.0), 0.01)
    coming = 3 - here
    reverse = ReverseProxyBindingUpdate(
        sequence=7,
        lifetime=300,
        mn_id=MN,
        hnps=(PREFIXES[coming],),
        handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=mac(coming),
        timestamp=Timestamp.from_utc(utc(1.0)),
        pmag=NMAG,
    )
    actions = mag.receive(LMAA, reverse, 1.0)
    [answer] = [each.message for each in actions if isinstance(each, Send)]
    assert isinstance(answer, ReverseProxyBindingAck)
    assert answer.status is Status.ACCEPTED
    paths = {entry.mn_ll_id: mag.scheme.forwarding(entry) for entry in mag.binding_update_list.of(MN)}
    assert paths == {
        mac(here): Forwarding(ToAccess(f"acc{here}", mac(here)), uplink_to=LMAA),
        mac(coming): Forwarding(ToAccess(f"acc{coming}", mac(coming)), held=True, uplink_to=LMAA),
    }


def test_two_mags_settle_the_handover_of_each() -> None:
    """RFC 5949: both are announced, one comes. The other one is de-registered when it is known not to follow."""
    config = made("fpmipv6", shared=False)
    peers = {mag_address(1): Fpmipv6(peers=(NMAG,)), NMAG: Fpmipv6(peers=(mag_address(1),))}
    mags = {
        address: MobileAccessGateway(
            msgspec.structs.replace(config, mag=msgspec.structs.replace(config.mag, address=address), fpmipv6=fpmipv6),
            utc,
        )
        for address, fpmipv6 in peers.items()
    }

    def carry(source: IPv6Address, actions: list[Action], now: float) -> None:
        """To the other MAG and back; the LMA takes whatever is asked of it."""
        answer_all(mags[source], [each for each in actions if sent([each])], now)
        for each in actions:
            if isinstance(each, Send) and each.destination in mags:
                carry(each.destination, mags[each.destination].receive(source, each.message, now), now)

    pmag, nmag = mags[mag_address(1)], mags[NMAG]
    for number in PREFIXES:
        carry(mag_address(1), pmag.link_up(f"acc{number}", 0.0), 0.01)
    carry(mag_address(1), pmag.handover(MN, NMAG, 1.0), 1.0)
    assert {entry.state for entry in pmag.binding_update_list.of(MN)} == {State.FORWARDED}
    assert {entry.state for entry in nmag.binding_update_list.of(MN)} == {State.AWAITED}
    for number in PREFIXES:
        pmag.link_down(f"acc{number}", 1.5)
    carry(NMAG, nmag.link_up("acc2", 1.6), 1.6)
    over = pmag.deadline()
    assert over is not None
    actions = pmag.expire(over)
    carry(mag_address(1), actions, over)
    assert [(entry.mn_ll_id, entry.state) for entry in pmag.binding_update_list.of(MN)] == []
    [come] = nmag.binding_update_list.of(MN)
    assert (come.mn_ll_id, come.state) == (mac(2), State.REGISTERED)
