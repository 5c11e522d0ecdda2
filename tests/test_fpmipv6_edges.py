"""RFC 5949 at its edges: a peer that never has done with contexts, a kernel that has no room."""

from dataclasses import replace

import pytest

from common.actions import Send
from common.mh.messages import (
    ContextData,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateFlag,
)
from lmad.binding_cache import State
from magd.config import Fpmipv6
from magd.handover.fpmipv6.exchanges import Exchanges
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, mac, mag_address, mag_config, mn_id, utc
from tests.packets import HNP
from tests.test_fpmipv6 import begin

MN = mn_id(1)
PMAG = mag_address(1)


@pytest.mark.parametrize(("contexts", "most"), [((), 1), ((ContextData(0xFF00, b"more"),), 16)])
def test_a_peer_that_always_has_more_is_not_asked_for_ever(contexts: tuple[ContextData, ...], most: int) -> None:
    """Code 5 is no promise where no context travels; and no context comes in more parts than the limits allow."""
    mag = MobileAccessGateway(mag_config(2, scheme="fpmipv6", fpmipv6=Fpmipv6(peers=(PMAG,))), utc)
    actions, asked = mag.link_up("acc1", 0.0), 0
    while found := [a.message for a in actions if isinstance(a, Send) and isinstance(a.message, HandoverInitiate)]:
        asked += 1
        hack = HandoverAck(
            sequence=found[0].sequence,
            code=HandoverAckCode.CONTEXT_TRANSFER_ACCEPTED,
            flags=HandoverAckFlag.PROXY | HandoverAckFlag.FORWARDING,
            mn_id=MN,
            hnps=(HNP,),
            mn_ll_id=mac(1),
            lma_addresses=(LMAA,),
            contexts=contexts,
        )
        actions = mag.receive(PMAG, hack, asked / 100)
    assert asked == most
    assert mag.binding_update_list[MN].hnps == (HNP,)


def test_an_mn_that_left_and_has_no_room_to_wait_in_is_de_registered_and_forgotten() -> None:
    domain = begin()
    domain.kernel_refuses = lambda node, forward: node == PMAG and bool(forward.forwarding and forward.forwarding.held)
    domain.leave()
    domain.run(domain.now + 0.1)
    [bce] = domain.lma.binding_cache.of(MN)
    assert bce.state is State.DEREGISTERED
    assert not domain.mags[PMAG].binding_update_list
    assert not domain.kernel[PMAG]


def test_a_peer_that_names_ever_other_mobile_nodes_is_not_remembered_for_good() -> None:
    config = mag_config(2, scheme="fpmipv6", fpmipv6=Fpmipv6(peers=(PMAG,), handover_lifetime=3.0))
    exchanges = Exchanges(config)
    exchanges.follow(config)
    for number in range(1000):
        hi = HandoverInitiate(sequence=number, flags=HandoverInitiateFlag.PROXY, mn_id=mn_id(number))
        assert not exchanges.is_late(PMAG, hi, None, now=number / 10)
    assert len(exchanges._heard) == 30
    assert exchanges.is_late(PMAG, replace(hi, sequence=hi.sequence - 1), None, now=99.9)
