"""Gates: where packets are made to wait in the kernel, in order, and let go in order while more keep coming.

A gate is a kernel queue and the set elements that lead packets into it. Closed, it keeps them, and user space hears
nothing of it. To open it is the delicate part, for a packet that comes meanwhile must not pass one that waits:

1. whatever is in the queue goes, again and again until nothing is left; what comes meanwhile lines up behind it;
2. in one call: from now on what finds no room passes, the queue a few times more, each time with less in it than
   before, then there is no room, and the queue once more;
3. new packets now pass through the queue without waiting; a little later the elements go, so that they do not come to
   it any more, and again a little later, when none can be on its way to it, the queue is made anew for its next use.

Every simpler order of these steps reorders packets, or loses one (length and flag of a queue in one message: the kernel
takes the length first). What is left: of two packets the first comes right before there is no room, and the second
passes right before the last verdict. Each is a moment of a microsecond or two; nothing that takes time, not even an
acknowledgement, is between these steps, and no other process is let in.
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from common.dataplane import nfqueue
from common.dataplane.elements import Element, ElementSocket
from common.dataplane.nfqueue import QueueSocket, QueueState
from common.errors import DataPlaneError

SETTLE_S = 0.005  # far longer than a packet takes from one rule to the next
PAUSE_S = 1.0  # before what the kernel refuses is tried again
MOST_ROUNDS = 200  # packets that come faster than they go would otherwise keep us here
LAST_ROUNDS = 4
PRIORITY = 3  # of real time, while a gate is opened: above what may be given to ksoftirqd; see LimitRTPRIO in systemd/
BINDS_PER_CALL = 64  # their answers must have room in the socket


class State(Enum):
    OPEN = auto()
    CLOSED = auto()
    OPENING = auto()  # packets pass through the queue
    CLEARING = auto()  # none is led there any more

    def __repr__(self) -> str:
        return self.name


@dataclass(eq=False, slots=True)
class Gate:
    """`elements` lead packets to the queue, `limits` end where it opens: a packet that only passes counts for none.

    `reason` names the drops: `<reason>-full` had no room; `discarding` is the name for what waited in vain.
    """

    queue: int
    elements: tuple[Element, ...]
    limits: tuple[Element, ...]
    length: int
    reason: str
    state: State = State.OPEN
    closed_at: float = 0.0
    due: float = 0.0
    discarding: str = ""
    counted: int = 0  # of those that entered the queue since it was made, the ones whose fate is settled
    forgotten: Callable[[], None] | None = None  # called once it is open and its queue is gone


class Gates:
    """All gates of one daemon; their queues belong to one socket."""

    def __init__(
        self,
        elements: ElementSocket,
        clock: Callable[[], float] = time.monotonic,
        inherited: int | None = None,
    ) -> None:
        self._elements = elements
        self._clock = clock
        self._queues = QueueSocket(silent=True, receive_buffer=1 << 20, inherited=inherited)
        self._shut: set[Gate] = set()  # every gate that is not open
        self._drops: Counter[str] = Counter()
        self.contested = 0  # openings in whose last moment packets came: these may have been overtaken

    def prepare(self, queues: Iterable[int], length: int) -> None:
        """Have these queues; raises DataPlaneError, for instance if another process has one of them."""
        messages = [nfqueue.bind(queue, length) for queue in queues]
        for start in range(0, len(messages), BINDS_PER_CALL):
            self._queues.demand(messages[start : start + BINDS_PER_CALL])

    def inherited(self) -> dict[int, QueueState]:
        """The queues that an earlier life has left us, with their packets."""
        return nfqueue.states() if self._queues.is_inherited else {}

    def adopt(self, gate: Gate, state: QueueState | None) -> None:
        """It is closed, or is so as soon as its elements are in place; without a `state` its queue is made."""
        if state is None:
            self.prepare([gate.queue], gate.length)
        else:
            # It may have been about to open.
            self._queues.demand([nfqueue.limit(gate.queue, gate.length), nfqueue.fail_open(gate.queue, False)])
            gate.counted = state.entered - state.undelivered - state.kept
        gate.state, gate.closed_at = State.CLOSED, self._clock()
        self._shut.add(gate)

    def descriptor(self) -> int:
        """What holds the queues: while it is open somewhere, they are there."""
        return self._queues.fileno()

    def dismiss(self, queue: int) -> None:
        """Have it no more; what is in it is dropped."""
        self._queues.demand([nfqueue.unbind(queue)])

    def close(self, gate: Gate, also: Sequence[Element] = ()) -> None:
        """From now on packets wait; `also` are elements that take effect at the same moment. Raises DataPlaneError."""
        if gate.state is State.CLOSED:
            self._elements.change(add=also)
            return
        if gate.state in (State.OPENING, State.CLEARING):
            self._count_discarded(gate, nfqueue.states()[gate.queue])
            self._queues.demand([nfqueue.limit(gate.queue, gate.length), nfqueue.fail_open(gate.queue, False)])
        elements = () if gate.state is State.OPENING else gate.elements
        self._elements.change(add=[*gate.limits, *elements, *also])
        gate.state, gate.closed_at, gate.discarding = State.CLOSED, self._clock(), ""
        self._shut.add(gate)

    def open(self, gate: Gate, *, discard: str = "") -> None:
        """Let everything go that waits, in order, and what comes after behind it; or drop it, counted as `discard`.

        Returns when the last that waited has gone its way. Raises DataPlaneError.
        """
        if gate.state is not State.CLOSED:
            return
        queue, verdict = gate.queue, nfqueue.DROP if discard else nfqueue.ACCEPT
        everything = nfqueue.verdict_on_all(queue, verdict)
        last_steps = [
            nfqueue.fail_open(queue, True, acknowledge=False),
            *(nfqueue.verdict_on_all(queue, verdict, acknowledge=False) for _ in range(LAST_ROUNDS)),
            nfqueue.limit(queue, 0, acknowledge=False),
            nfqueue.verdict_on_all(queue, verdict),
        ]
        self._elements.change(remove=gate.limits)
        try:
            with _undisturbed():
                for _ in range(MOST_ROUNDS):
                    if self._none_left(self._queues.request([everything])[0]):
                        break
                outcome = self._queues.request(last_steps)
            self.contested += not [self._none_left(error) for error in outcome][-1]
        except DataPlaneError:
            self._elements.change(add=gate.limits)  # it is as closed as before, and can be opened yet
            raise
        gate.discarding = discard
        gate.state, gate.due = State.OPENING, self._clock() + SETTLE_S

    def elements(self) -> Iterator[Element]:
        """All that are to be in place now."""
        for gate in self._shut:
            if gate.state is State.CLOSED:
                yield from gate.limits
            if gate.state in (State.CLOSED, State.OPENING):
                yield from gate.elements

    def lose(self) -> None:
        """The rules were deleted, and the kernel has dropped what waited: that is counted."""
        closed = [gate for gate in self._shut if gate.state is State.CLOSED]
        states = nfqueue.states()
        for gate in closed:
            state = states[gate.queue]
            lost = state.entered - state.undelivered - state.kept - gate.counted
            self._drops[f"{gate.reason}-flushed"] += lost
            gate.counted += lost

    def deadline(self) -> float | None:
        return min((gate.due for gate in self._shut if gate.state is not State.CLOSED), default=None)

    def expire(self, now: float) -> None:
        """Carry on with the gates that have been opened a while ago."""
        due = [gate for gate in self._shut if gate.state is not State.CLOSED and gate.due <= now]
        for gate in due:
            gate.due = now + PAUSE_S
        opening = [gate for gate in due if gate.state is State.OPENING]
        for gate in opening:
            self._elements.change(remove=gate.elements)
            gate.state, gate.due = State.CLEARING, now + SETTLE_S
        if clearing := [gate for gate in due if gate not in opening]:
            self._renew(clearing)

    def kept(self) -> dict[Gate, tuple[int, Counter[str]]]:
        """Of each closed gate: how many packets wait, how many were dropped since its queue was made, by reason."""
        closed = [gate for gate in self._shut if gate.state is State.CLOSED]
        states = nfqueue.states() if closed else {}
        return {gate: (states[gate.queue].kept, _drops(gate, states[gate.queue])) for gate in closed}

    def drops(self) -> Counter[str]:
        """In all, by reason."""
        states = nfqueue.states() if self._shut else {}
        return sum((_drops(gate, states[gate.queue]) for gate in self._shut), +self._drops)

    def end(self) -> None:
        """What still waits is dropped."""
        self._queues.close()
        self._shut.clear()

    def _renew(self, gates: Sequence[Gate]) -> None:
        states = nfqueue.states()
        for gate in gates:
            self._drops += _drops(gate, states[gate.queue])
            # One that somebody waits to have back has no queue until its next use: the kernel's table of queues, which
            # is read for every figure, stays short.
            anew = [] if gate.forgotten else [nfqueue.bind(gate.queue, gate.length)]
            self._queues.demand([nfqueue.unbind(gate.queue), *anew])
            gate.state, gate.discarding, gate.counted = State.OPEN, "", 0
            self._shut.remove(gate)
            if gate.forgotten:
                gate.forgotten()

    def _count_discarded(self, gate: Gate, state: QueueState) -> None:
        """The queue is used on: what has become of the packets so far is noted."""
        entered = state.entered - state.undelivered
        if gate.discarding:
            self._drops[gate.discarding] += entered - gate.counted
        gate.counted = entered

    @staticmethod
    def _none_left(error: int) -> bool:
        if error not in (0, errno.ENOENT):
            raise DataPlaneError(f"the kernel does not let go of held packets: {os.strerror(error)}")
        return error == errno.ENOENT


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Meanwhile no ordinary process takes this one's processor; where that is not allowed, it may."""
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)


def _drops(gate: Gate, state: QueueState) -> Counter[str]:
    """What the queue's counters say of packets that are lost. `undelivered` had no memory left for their notice."""
    drops = Counter({f"{gate.reason}-full": state.full, f"{gate.reason}-undelivered": state.undelivered})
    if gate.discarding:
        drops[gate.discarding] = state.entered - state.undelivered - gate.counted
    return +drops
