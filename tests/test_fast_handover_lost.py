"""The Fast Handover Scheme on a network that loses messages: they are sent again, and not for ever."""

import pytest

from common.actions import Send
from common.mh.messages import (
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
)
from tests.test_fast_handover import NMAG, PMAG, announce, assert_served_at, begin, messages

LOST: dict[str, type[Message]] = {
    "Fast PBU": FastProxyBindingUpdate,
    "Fast PBA": FastProxyBindingAck,
    "Reverse PBU": ReverseProxyBindingUpdate,
    "Reverse PBA": ReverseProxyBindingAck,
    "PBU": ProxyBindingUpdate,
    "PBA": ProxyBindingAck,
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("l2", [0.05, 4.0])
def test_lost_messages_are_sent_again(name: str, times: int, l2: float) -> None:
    """With back-off: after 1 s, after 2 s more. The MN may come before and after."""
    domain = begin()
    losses = [name] * times
    domain.deliver = lambda _source, _destination, message: (
        () if losses and isinstance(message, LOST[name]) and losses.pop() else (domain.one_way,)
    )
    announce(domain)
    announced = domain.now
    domain.run(domain.now + 0.02)
    domain.leave()
    domain.run(domain.now + l2)
    domain.arrive(2)
    domain.run(30.0)
    assert not losses or l2 < 1  # an MN that has arrived makes the rest unnecessary
    sent = [
        round(t - announced, 3)
        for t, _, action in domain.log
        if isinstance(action, Send) and isinstance(action.message, LOST[name])
    ]
    if l2 > 1 and name in ("Fast PBU", "Reverse PBU"):
        first = sent[0]
        assert [round(t - first, 2) for t in sent] == [0.0, 1.0, 3.0][: times + 1]
    assert_served_at(domain, 2)


def test_nothing_is_sent_for_ever() -> None:
    """Nobody answers any more: three Fast PBUs, then a plain de-registration, and that is all."""
    domain = begin()
    domain.log.clear()
    domain.deliver = lambda *_: ()
    domain.leave()
    domain.run(60.0)
    assert messages(domain) == ["Fast PBU", "Fast PBU", "Fast PBU", "PBU-dereg"]
    assert "fast-pbu-unanswered" in domain.notes()
    assert not domain.mags[PMAG].binding_update_list


def test_reverse_pbu_without_answer_is_given_up() -> None:
    domain = begin()
    domain.deliver = lambda _source, destination, _message: () if destination == NMAG else (domain.one_way,)
    announce(domain)
    domain.run(1.02)
    domain.leave()
    domain.run(30.0)
    assert len(domain.sent(ReverseProxyBindingUpdate)) == 3
    assert domain.notes().count("reverse-pbu-unanswered") == 1
    assert len(domain.lma.binding_cache) == 0
