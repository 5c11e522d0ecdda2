"""Strays: packets that came by where their MN is not (yet); user space reads their headers and decides one by one.

At an LMA they are what a MAG gave back because the MN has left, perhaps before its de-registration has come; at a MAG
what comes down the tunnel for an MN whose path is about to be made. They stay in the kernel, in one queue; here is
remembered which, per home network prefix, in order. A verdict sends a packet on to be routed anew.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from ipaddress import IPv6Network

from common.dataplane import nfqueue
from common.dataplane.nfqueue import IPV6_HEADER_LENGTH, Notice, QueueSocket

RECEIVE_BUFFER = 16 << 20  # octets; a notice takes about one thousand
DESTINATION = slice(24, 32)  # in an IPv6 header: the first 64 bits of the destination
ONE_TURN = 256  # packets


class Fate(Enum):
    """What is to become of a stray: it goes on, waits for something that will come, or waits for a limited time."""

    GO = auto()
    WAIT = auto()
    WAIT_A_WHILE = auto()


Judge = Callable[[bytes, int], Fate]  # of packets for this prefix (its first 64 bits) that came by this device


class Strays:
    """The queue `queue`, of at most `length` packets; `patience` in seconds ends the wait of whoever nobody expects."""

    def __init__(
        self,
        queue: int,
        length: int,
        judge: Judge,
        *,
        reason: str,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        inherited: int | None = None,
    ) -> None:
        self.socket = QueueSocket(silent=False, receive_buffer=RECEIVE_BUFFER, inherited=inherited)
        self._queue = queue
        self._length = length
        self._judge = judge
        self._reason = reason
        self._patience = patience
        self._clock = clock
        self._waiting: dict[bytes, list[Notice]] = {}
        self._given_up_at: dict[bytes, float] = {}
        self._drops: Counter[str] = Counter()

    def prepare(self) -> None:
        """Have the queue, unless it is inherited. Raises DataPlaneError."""
        if self.socket.is_inherited and self._queue in nfqueue.states():
            return
        self.socket.demand([nfqueue.bind(self._queue, self._length, IPV6_HEADER_LENGTH)])

    def resume(self) -> None:
        """What an earlier life has left in the queue is announced once more, in order.

        Each packet begins anew with the rules that led it here. That it was announced before is forgotten first.
        """
        self.socket.forget_notices()
        self.socket.tell(nfqueue.verdict_on_all(self._queue, nfqueue.REPEAT, acknowledge=False))

    def read(self) -> None:
        """Judge what has come since the last call; what is too much for one turn of an event loop is left."""
        self._take((), ONE_TURN)

    def judge_again(self, session: Iterable[IPv6Network], *, release: bool = False) -> None:
        """Something changed for the session: what came before now is judged anew, or with `release` goes whatever."""
        prefixes = _prefixes(session)
        self._take(prefixes, self._length)
        for prefix in prefixes:
            for notice in self._forget(prefix):
                if release:
                    self._let_go(notice)
                else:
                    self._decide(prefix, notice)

    def drop(self, session: Iterable[IPv6Network], reason: str) -> None:
        """The session has ended: what waits for it is dropped and counted under `reason`."""
        prefixes = _prefixes(session)
        self._take(prefixes, self._length)
        for prefix in prefixes:
            self._drop(prefix, reason)

    def lose(self) -> None:
        """The rules were deleted, and the kernel has dropped what waited: that is counted."""
        self.socket.tell(nfqueue.verdict_on_all(self._queue, nfqueue.DROP, acknowledge=False))  # if any is left
        unread = sum(1 for _ in self.socket.notices(self._length))
        self._drops[f"{self._reason}-flushed"] += unread + sum(map(len, self._waiting.values()))
        self._waiting.clear()
        self._given_up_at.clear()

    def deadline(self) -> float | None:
        return min(self._given_up_at.values(), default=None)

    def expire(self, now: float) -> None:
        for prefix in [prefix for prefix, moment in self._given_up_at.items() if moment <= now]:
            self._drop(prefix, self._reason)

    def drops(self) -> Counter[str]:
        """In all, by reason."""
        state = nfqueue.states()[self._queue]
        return self._drops + Counter({f"{self._reason}-full": state.full + state.undelivered})

    def waiting(self, session: Iterable[IPv6Network]) -> int:
        """How many packets wait for the session."""
        return sum(len(self._waiting.get(prefix, ())) for prefix in _prefixes(session))

    def end(self) -> None:
        """What still waits is dropped."""
        self.socket.close()

    def _take(self, unjudged: Sequence[bytes], most: int) -> None:
        """Read what has come; packets for the prefixes `unjudged` line up behind those that wait."""
        for notice in self.socket.notices(most):
            prefix = notice.octets[DESTINATION]
            if prefix in unjudged:
                self._waiting.setdefault(prefix, []).append(notice)
            else:
                self._decide(prefix, notice)

    def _decide(self, prefix: bytes, notice: Notice) -> None:
        fate = self._judge(prefix, notice.device)
        if fate is Fate.GO:
            self._let_go(notice)
            return
        self._waiting.setdefault(prefix, []).append(notice)
        if fate is Fate.WAIT_A_WHILE:
            self._given_up_at.setdefault(prefix, self._clock() + self._patience)

    def _drop(self, prefix: bytes, reason: str) -> None:
        waiting = self._forget(prefix)
        for notice in waiting:
            self._let_go(notice, nfqueue.DROP)
        if waiting:
            self._drops[reason] += len(waiting)

    def _forget(self, prefix: bytes) -> list[Notice]:
        self._given_up_at.pop(prefix, None)
        return self._waiting.pop(prefix, [])

    def _let_go(self, notice: Notice, verdict: int = nfqueue.ACCEPT) -> None:
        """It is on its way when this returns: nobody waits until the fate of all that came with it is known."""
        self.socket.tell(nfqueue.verdict_on_one(self._queue, notice.packet, verdict))


def _prefixes(session: Iterable[IPv6Network]) -> list[bytes]:
    return [hnp.network_address.packed[:8] for hnp in session]
