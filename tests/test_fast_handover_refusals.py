"""The Fast Handover Scheme where it meets a no: refusals, and peers that lack it, which are served as plain PMIPv6."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from common.actions import Forwarding, Send, ToPeer
from common.mh.messages import (
    BindingError,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    ReverseProxyBindingUpdate,
    Status,
    Timestamp,
)
from lmad.binding_cache import State
from lmad.lma import LocalMobilityAnchor
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, lma_config, mag_address, mag_config, mn_id, utc
from tests.packets import HNP, PacketDomain
from tests.test_fast_handover import MN, NMAG, PMAG, THIRD, announce, assert_served_at, begin


def fast_pbu(domain: PacketDomain, **changes: object) -> FastProxyBindingUpdate:
    gateway = domain.mags[PMAG]
    entry = gateway.binding_update_list[MN]
    message = FastProxyBindingUpdate(
        sequence=gateway.numbering.sequence(),
        lifetime=300,
        mn_id=MN,
        hnps=entry.hnps,
        handoff_indicator=4,  # type: ignore[arg-type]
        access_technology=4,  # type: ignore[arg-type]
        mn_ll_id=entry.mn_ll_id,
        timestamp=Timestamp.from_utc(utc(domain.now)),
        nmag=NMAG,
    )
    return replace(message, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "status", "note"),
    [
        ({"nmag": None}, Status.REASON_UNSPECIFIED, "refused-missing-nmag"),
        ({"nmag": PMAG}, Status.REASON_UNSPECIFIED, "refused-nmag-is-pmag"),
        ({"lifetime": 0}, Status.REASON_UNSPECIFIED, "refused-fast-pbu-without-lifetime"),
        (
            {"nmag": IPv6Address("2001:db8:0:99::1")},
            Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG,
            None,
        ),
        ({"timestamp": Timestamp(1)}, Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED, None),
        ({"timestamp": Timestamp.from_utc(utc(1000.0))}, Status.TIMESTAMP_MISMATCH, None),
        ({"mn_id": mn_id(9)}, Status.NOT_LMA_FOR_THIS_MOBILE_NODE, None),
        ({"mn_id": None}, Status.MISSING_MN_IDENTIFIER_OPTION, None),
        ({"hnps": ()}, Status.MISSING_HOME_NETWORK_PREFIX_OPTION, None),
        ({"handoff_indicator": None}, Status.MISSING_HANDOFF_INDICATOR_OPTION, None),
    ],
)
def test_fast_pbu_that_is_refused_changes_nothing(changes: dict[str, object], status: Status, note: str | None) -> None:
    domain = begin()
    [before] = domain.lma.binding_cache.of(MN)
    message = fast_pbu(domain, **changes)
    actions = domain.lma.receive(PMAG, message, domain.now)
    [answer] = [action.message for action in actions if isinstance(action, Send)]
    assert isinstance(answer, FastProxyBindingAck)
    assert (answer.status, answer.sequence) == (status, message.sequence)
    assert getattr(actions[0], "event", None) == (note or f"refused-{status.name.lower().replace('_', '-')}")
    assert domain.lma.binding_cache.of(MN) == [before]


def test_fast_pbu_of_another_mag_is_ignored() -> None:
    """RFC 5213 section 5.3.5: whom the MN is not with is not even answered; nor is a MAG that is none."""
    domain = begin(mags=3)
    for source, note in (
        (THIRD, "ignored-Fast PBU"),
        (IPv6Address("2001:db8:0:99::1"), "unauthorized-source"),
    ):
        [only] = domain.lma.receive(source, fast_pbu(domain), domain.now)
        assert getattr(only, "event", None) == note


def test_refused_fast_pbu_leaves_the_mn_where_it_is() -> None:
    """The announcement names a MAG that the LMA does not know: the MN is served on, and hands over plainly."""
    domain = begin(known=False)
    domain.traffic(0.002, until=3.0)
    announce(domain, IPv6Address("2001:db8:0:99::1"))
    domain.run(4.0)
    assert "fast-pbu-refused-154" in domain.notes()
    assert dict(domain.lost) == {}
    assert domain.downlink == list(range(domain.downlink_sent))
    assert_served_at(domain, 1)
    domain.leave()
    domain.run(4.05)
    domain.arrive(2)
    domain.run(20.0)
    assert_served_at(domain, 2)


def plain(domain: PacketDomain, number: int) -> None:
    """MAG `number` speaks plain PMIPv6."""
    domain.mags[mag_address(number)] = MobileAccessGateway(mag_config(number, scheme="pmipv6"), utc, sequence=9000)


@pytest.mark.parametrize("mode", ["reactive", "predictive"])
def test_nmag_without_the_scheme_is_served_as_plain_pmipv6(mode: str) -> None:
    """It answers a Binding Error; the second time the LMA refuses at once."""
    domain = begin()
    plain(domain, 2)
    for attempt in (1, 2):
        domain.log.clear()
        if mode == "predictive":
            announce(domain)
            domain.run(domain.now + 0.1)
            assert domain.kernel[LMAA][HNP] == Forwarding(ToPeer(PMAG))
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(2)
        domain.run(domain.now + 20.0)
        assert_served_at(domain, 2)
        assert len(domain.sent(ReverseProxyBindingUpdate)) == (1 if attempt == 1 else 0)
        assert len(domain.sent(BindingError)) == (1 if attempt == 1 else 0)
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(1)
        domain.run(domain.now + 20.0)
        assert_served_at(domain, 1)


@pytest.mark.parametrize("mode", ["reactive", "predictive"])
def test_lma_without_the_scheme_is_served_as_plain_pmipv6(mode: str) -> None:
    domain = begin()
    domain.lma = LocalMobilityAnchor(lma_config(2, 1, scheme="pmipv6"), utc)
    domain.kernel.clear()
    domain.here = None
    plain(domain, 2)
    domain.mags[PMAG] = MobileAccessGateway(mag_config(1, 1, (NMAG,), scheme="fast-handover"), utc, sequence=9000)
    domain.arrive(1)
    domain.run(domain.now + 2.0)
    for attempt in (1, 2):
        domain.log.clear()
        if mode == "predictive":
            announce(domain)
            domain.run(domain.now + 3.0)
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(2)
        domain.run(domain.now + 20.0)
        assert len(domain.sent(FastProxyBindingUpdate)) == (1 if attempt == 1 else 0)
        assert_served_at(domain, 2)
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(1)
        domain.run(domain.now + 20.0)
        assert_served_at(domain, 1)


@pytest.mark.parametrize("mode", ["reactive", "predictive"])
def test_nmag_whose_kernel_refuses_or_that_does_not_know_the_mn(mode: str) -> None:
    for why in ("kernel", "profile"):
        domain = begin()
        if why == "kernel":
            domain.kernel_refuses = lambda node, forward: bool(
                node == NMAG and forward.forwarding and forward.forwarding.held
            )
        else:
            config = mag_config(2, 0, scheme="fast-handover")
            domain.mags[NMAG] = MobileAccessGateway(config, utc, sequence=9000)
        if mode == "predictive":
            announce(domain)
            domain.run(domain.now + 0.1)
            assert domain.kernel[LMAA][HNP] == Forwarding(ToPeer(PMAG))
            assert domain.kernel[PMAG][HNP].uplink_to
        domain.leave()
        domain.run(domain.now + 0.1)
        [bce] = domain.lma.binding_cache.of(MN)
        assert bce.state is State.DEREGISTERED  # as plain PMIPv6 has it
        assert not domain.mags[NMAG].binding_update_list
        if why == "kernel":
            domain.arrive(2)
            domain.run(domain.now + 20.0)
            assert_served_at(domain, 2)


def test_kernel_of_the_lma_that_refuses_the_switch_changes_nothing() -> None:
    domain = begin()
    domain.kernel_refuses = lambda node, forward: (
        node == LMAA and forward.forwarding is not None and forward.forwarding.downlink == ToPeer(NMAG)
    )
    announce(domain)
    domain.run(3.0)
    assert "fast-pbu-refused-130" in domain.notes()
    assert not domain.sent(ReverseProxyBindingUpdate)
    assert_served_at(domain, 1)


def test_copies_and_late_comers_do_no_harm() -> None:
    """Every message twice, the copy a second later."""
    domain = begin()
    domain.deliver = lambda *_: (domain.one_way, domain.one_way + 1.0)
    announce(domain)
    domain.run(1.02)
    domain.leave()
    domain.run(1.07)
    domain.arrive(2)
    domain.run(1.2)
    assert domain.kernel[LMAA][HNP] == Forwarding(ToPeer(NMAG))
    domain.run(30.0)
    assert_served_at(domain, 2)
