"""A farewell that comes so late that the anchor refuses its timestamp (156) is said again, as if it had been lost."""

from ipaddress import IPv6Address

import pytest

from common.mh.messages import FastProxyBindingUpdate, Message, ProxyBindingUpdate
from lmad.binding_cache import State
from magd.binding_update_list import State as AtTheGateway
from tests.domain import mag_address, mn_id
from tests.packets import PacketDomain

MN, PMAG, NMAG = mn_id(1), mag_address(1), mag_address(2)
LATE_S = 0.4  # RFC 5213 section 5.5: TimestampValidityWindow is 0.3 s


def begin(scheme: str, late: int) -> PacketDomain:
    """Registered at mag1; `late` farewells from now on are held up."""
    domain = PacketDomain.make(2, scheme=scheme, neighbours_known=True)
    domain.arrive(1)
    domain.run(1.0)
    left = late

    def deliver(_source: IPv6Address, _destination: IPv6Address, message: Message) -> tuple[float, ...]:
        nonlocal left
        if left and is_farewell(message):
            left -= 1
            return (LATE_S,)
        return (domain.one_way,)

    domain.deliver = deliver
    return domain


def is_farewell(message: Message) -> bool:
    return isinstance(message, FastProxyBindingUpdate) or (
        isinstance(message, ProxyBindingUpdate) and not message.lifetime
    )


def farewells(domain: PacketDomain) -> int:
    return sum(
        is_farewell(message) for kind in (ProxyBindingUpdate, FastProxyBindingUpdate) for message in domain.sent(kind)
    )


@pytest.mark.parametrize("late", [1, 2])
@pytest.mark.parametrize("scheme", ["pmipv6", "context-reflector", "fast-handover"])
def test_the_anchor_learns_of_it_all_the_same(scheme: str, late: int) -> None:
    domain = begin(scheme, late)
    domain.leave()
    domain.run(2.5)
    assert farewells(domain) == late + 1
    assert domain.notes().count("refused-timestamp-mismatch") == late
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa) != (State.REGISTERED, PMAG)


@pytest.mark.parametrize("scheme", ["context-reflector", "fast-handover"])
def test_an_announcement_is_not_undone(scheme: str) -> None:
    domain = begin(scheme, late=1)
    domain.perform(PMAG, domain.mags[PMAG].handover(MN, NMAG, domain.now))
    domain.run(2.0)
    assert domain.mags[NMAG].binding_update_list[MN].state is AtTheGateway.AWAITED


@pytest.mark.parametrize(("scheme", "said"), [("pmipv6", 3), ("context-reflector", 3), ("fast-handover", 3 + 3)])
def test_where_each_comes_late_it_is_said_three_times(scheme: str, said: int) -> None:
    """A long way to the anchor is no reason to go on for ever. What a Fast PBU could not say, a PBU may."""
    domain = begin(scheme, late=1000)
    domain.leave()
    domain.run(100.0)
    assert farewells(domain) == said
    assert MN not in domain.mags[PMAG].binding_update_list
