"""Which queue a session gets that goes on after a start; the kernel's part is tested in tests/netns."""

from ipaddress import IPv6Network
from typing import cast

from common.dataplane.elements import Element
from common.dataplane.gates import Gate, Gates, State
from common.dataplane.hold import QUEUE_OF, HoldLimits, HoldPool, number
from common.dataplane.nfqueue import QueueState

FIRST = 0x4000
ONE, OTHER, THIRD = ((IPv6Network((0x20010DB8 << 96 | number << 64, 64)),) for number in (1, 2, 3))
WITH_PACKETS = QueueState(kept=5, entered=5, full=0, undelivered=0)


class NoGates:
    """Remembers with what each queue was adopted."""

    def __init__(self) -> None:
        self.adopted: dict[int, QueueState | None] = {}

    def adopt(self, gate: Gate, state: QueueState | None) -> None:
        self.adopted[gate.queue] = state
        gate.state = State.CLOSED


def queue_of(elements: list[Element]) -> int | None:
    return next((number(element.data) for element in elements if element.set == QUEUE_OF), None)


def test_what_waits_for_a_session_is_no_other_ones() -> None:
    """The first was killed before its hold was made; the queue that comes first has what waits for the other."""
    gates = NoGates()
    pool = HoldPool(cast(Gates, gates), HoldLimits(), FIRST)
    states = {FIRST: WITH_PACKETS}
    assert queue_of(pool.adopt(ONE, None, states)) == FIRST + 1
    assert queue_of(pool.adopt(OTHER, FIRST, states)) == FIRST
    assert gates.adopted == {FIRST + 1: None, FIRST: WITH_PACKETS}


def test_a_start_with_fewer_holds_than_there_were_is_a_start() -> None:
    pool = HoldPool(cast(Gates, NoGates()), HoldLimits(sessions=1), FIRST)
    assert pool.adopt(ONE, FIRST + 7, {}) != []
    assert pool.adopt(OTHER, FIRST + 8, {}) == []
    pool.release(OTHER)
    assert [pool.holds(session) for session in (ONE, OTHER, THIRD)] == [True, False, False]
