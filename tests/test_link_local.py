"""The address of an MN's router where it is not the same for all (RFC 5213 sections 6.9.1.1-9 and 6.9.1.2-15, 9.3)."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from scapy.layers.inet6 import ICMPv6NDOptSrcLLAddr, IPv6

from common.actions import Advertise, Forward, Forwarding, Note, Solicit, ToAccess
from common.dataplane.router import MAG_LINK_LOCAL, RouterAddresses
from common.mh.messages import ALL_ZERO_ADDRESS, ContextData, Feature, HandoffIndicator, ProxyBindingUpdate
from lmad.lma import LocalMobilityAnchor
from magd.binding_update_list import BindingUpdateListEntry, State
from magd.config import MagdConfig
from magd.context.policy_profile import PolicyProfile
from magd.mag import MobileAccessGateway
from magd.router_advertisement import build
from tests.domain import LMAA, Domain, lma_config, mac, mag_address, mag_config, mn_id, utc
from tests.test_mag import accepted, sent

ROUTER, OTHER = IPv6Address("fe80::7"), IPv6Address("fe80::8")
HNP = IPv6Network("2001:db8:1000::/64")


def config(number: int = 1, scheme: str = "pmipv6") -> MagdConfig:
    """One that leaves the address to the LMA."""
    return mag_config(
        number,
        neighbours=(mag_address(3 - number),),
        scheme=scheme,
        fixed_mag_link_local_address_on_all_access_links=ALL_ZERO_ADDRESS,
    )


@pytest.fixture
def mag() -> MobileAccessGateway:
    return MobileAccessGateway(config(), utc)


def requests(mag: MobileAccessGateway) -> Iterator[ProxyBindingUpdate]:
    """What it says for MN 1 when it is left alone."""
    while (moment := mag.deadline()) is not None:
        mag.heard("acc1", mac(1), None, moment)
        yield from sent(mag.expire(moment))


def test_the_lmas_address_is_the_routers_and_is_said_again_from_then_on(mag: MobileAccessGateway) -> None:
    [request] = sent(mag.link_up("acc1", 0.0))
    assert request.link_local == ALL_ZERO_ADDRESS
    assert mag.receive(LMAA, accepted(request, link_local=ROUTER), 0.1) == [
        Forward(mn_id(1), (HNP,), Forwarding(ToAccess("acc1", mac(1), ROUTER), uplink_to=LMAA)),
        Advertise("acc1", mac(1), (HNP,), 300, 1460, router=ROUTER),
    ]
    refresh = next(requests(mag))
    assert (refresh.handoff_indicator, refresh.link_local) == (HandoffIndicator.NOT_CHANGED, ROUTER)
    [farewell] = sent(mag.link_down("acc1", 400.0))
    assert (farewell.lifetime, farewell.link_local) == (0, ROUTER)


def test_an_mn_is_asked_for_a_sign_of_life_by_its_router(mag: MobileAccessGateway) -> None:
    [request] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(request, link_local=ROUTER), 0.1)
    asked: list[Solicit] = []
    while not asked:
        moment = mag.deadline()
        assert moment is not None
        asked = [each for each in mag.expire(moment) if isinstance(each, Solicit)]
    assert asked[0].router == ROUTER


def test_where_it_is_fixed_an_lmas_address_is_not_used() -> None:
    fixed = MobileAccessGateway(mag_config(1), utc)
    [request] = sent(fixed.link_up("acc1", 0.0))
    assert request.link_local is None
    assert Advertise("acc1", mac(1), (HNP,), 300, 1460) in fixed.receive(
        LMAA, accepted(request, link_local=ROUTER), 0.1
    )


@pytest.mark.parametrize(
    ("given", "has", "wanted"),
    [
        (ROUTER, ROUTER, MAG_LINK_LOCAL),
        (MAG_LINK_LOCAL, MAG_LINK_LOCAL, MAG_LINK_LOCAL + 1),
        (None, ROUTER, MAG_LINK_LOCAL),  # an LMA that does not do as 5.3.6 says
        (ALL_ZERO_ADDRESS, ROUTER, MAG_LINK_LOCAL),
    ],
)
def test_an_address_that_the_mn_has_is_not_its_routers_and_the_lma_is_told(
    mag: MobileAccessGateway, given: IPv6Address | None, has: IPv6Address, wanted: IPv6Address
) -> None:
    [request] = sent(mag.link_up("acc1", 0.0))
    mag.heard("acc1", mac(1), has, 0.05)  # duplicate address detection by the MN
    actions = mag.receive(LMAA, accepted(request, link_local=given), 0.1)
    assert Advertise("acc1", mac(1), (HNP,), 300, 1460, router=wanted) in actions
    assert Note("link-local-address-made-up", mn_id(1), LMAA, str(wanted)) in actions
    [told] = sent(actions)
    assert (told.link_local, told.handoff_indicator) == (wanted, HandoffIndicator.NOT_CHANGED)
    assert sent(mag.receive(LMAA, accepted(told, link_local=wanted), 0.2)) == []  # said once
    assert mag.binding_update_list[mn_id(1)].link_local == wanted


@pytest.mark.parametrize("scheme", ["pmipv6", "context-reflector"])
def test_the_router_stays_what_it_is_wherever_the_mn_goes(scheme: str) -> None:
    """The anchor remembers what the first gateway has told it, and a context says it ahead of the anchor's answer."""
    mags = {mag_address(number): MobileAccessGateway(config(number, scheme), utc, 1000 * number) for number in (1, 2)}
    domain = Domain(LocalMobilityAnchor(lma_config(scheme=scheme), utc), mags)
    mags[mag_address(1)].heard("acc1", mac(1), MAG_LINK_LOCAL, domain.now)
    domain.attach(1, 1)
    domain.run(1.0)
    domain.detach(1, 1)
    domain.run(1.05)
    domain.attach(1, 2)
    domain.run(2.0)
    told = [
        action.router
        for _, node, action in domain.log
        if node == mag_address(2) and isinstance(action, Advertise) and action.hnps
    ]
    assert told
    assert set(told) == {MAG_LINK_LOCAL + 1}
    [bce] = domain.lma.binding_cache
    assert (bce.proxy_coa, bce.link_local) == (mag_address(2), MAG_LINK_LOCAL + 1)


def test_the_policy_profile_has_it_where_it_is_not_fixed() -> None:
    entry = BindingUpdateListEntry(mn_id=mn_id(1), mn_ll_id=mac(1), interface="", lma=LMAA, state=State.AWAITED)
    profile = PolicyProfile()
    [piece] = profile.export(replace(entry, link_local=ROUTER))
    assert profile.restore(entry, piece).link_local == ROUTER
    [without] = profile.export(entry)
    assert b"link_local" not in without.data
    assert profile.restore(replace(entry, link_local=OTHER), without).link_local == OTHER


@pytest.mark.parametrize(
    "data",
    [
        b'{"link_local":"fe80::1%a b"}',
        b'{"link_local":7}',
        b'{"link_local":"x"}',
        b'{"link_local":"2001:db8::1"}',
        b'{"mn_ll_id":"%s"}' % (b"00" * 254),
        b"[]",
    ],
)
def test_a_profile_that_cannot_be_used_is_none(data: bytes) -> None:
    entry = BindingUpdateListEntry(mn_id=mn_id(1), mn_ll_id=None, interface="", lma=LMAA)
    with pytest.raises(ValueError, match=r"profile|link-local|expected|254 octets"):
        PolicyProfile().restore(entry, ContextData(Feature.POLICY_PROFILE, data))


def test_an_advertisement_comes_from_the_router_and_its_mac() -> None:
    packet = IPv6(build((HNP,), 300, 1460, router=(ROUTER, "02:00:00:00:00:09")))
    assert packet.src == str(ROUTER)
    assert packet[ICMPv6NDOptSrcLLAddr].lladdr == "02:00:00:00:00:09"


def test_what_an_mn_sees_is_configured() -> None:
    assert mag_config(1).router == RouterAddresses("00:00:5e:00:52:13", MAG_LINK_LOCAL)
    assert config().router == RouterAddresses("00:00:5e:00:52:13", None)
    assert mag_config(1, fixed_mag_link_layer_address_on_all_access_links=bytes(6)).router.mac is None
