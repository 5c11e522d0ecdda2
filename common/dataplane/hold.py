"""Holds: the packets of a mobility session wait in the kernel, within limits.

A session that is held has a gate (gates.py) with a queue out of a fixed pool of them, so that each is released alone.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from struct import pack, unpack

from common.dataplane.elements import Element
from common.dataplane.gates import Gate, Gates, State
from common.dataplane.nfqueue import QueueState
from common.errors import DataPlaneError

log = logging.getLogger(__name__)

HNP_LENGTH = 64
EXPIRED = "hold-expired"
QUEUE_OF = "queue_of"  # the map from prefix to queue
Session = tuple[IPv6Network, ...]  # named by its home network prefixes


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """How much may be held: packets (at most 65,535) and octets of a session and in all, and how many sessions at once.

    Every session that is held has its full share, so what is allowed in all bounds the number of sessions. A
    super-packet (GSO, GRO) is one packet with all its octets.
    """

    packets: int = 1024
    octets: int = 4 << 20
    packets_in_all: int = 1 << 20
    octets_in_all: int = 4 << 30
    sessions: int = 1024

    @property
    def at_once(self) -> int:
        """Sessions that can be held at the same time."""
        return min(self.sessions, self.packets_in_all // self.packets, self.octets_in_all // self.octets)


class HoldPool:
    """Gates for sessions; the queues from `first` on are its own."""

    def __init__(self, gates: Gates, limits: HoldLimits, first: int) -> None:
        self._gates = gates
        self._limits = limits
        self._free = deque(range(first, first + limits.at_once))
        self._used: dict[Session, Gate] = {}

    def holds(self, session: Session) -> bool:
        return session in self._used and self._used[session].state is State.CLOSED

    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, session: Session, also: Sequence[Element] = ()) -> None:
        """See Gates.close. Raises DataPlaneError too when as many sessions as may be are held already."""
        gate = self._used.get(session)
        if gate is not None:
            self._gates.close(gate, also)
            return
        if not self._free:
            raise DataPlaneError(f"{self._limits.at_once} sessions are held already, no more may be")
        gate = _gate(session, self._free[0], self._limits.packets)
        self._gates.prepare([gate.queue], self._limits.packets)
        try:
            self._gates.close(gate, also)
        except DataPlaneError:
            self._gates.dismiss(gate.queue)
            raise
        self._free.popleft()
        self._used[session] = gate
        gate.forgotten = lambda: self._put_back(session)

    def adopt(self, session: Session, queue: int | None, states: Mapping[int, QueueState]) -> list[Element]:
        """The session is held, if it has this queue of an earlier life with what is in it; its elements.

        One that has none, where no more may be held, is not: there were other limits then, and its MN is served anyhow.
        """
        if queue is None or queue not in self._free:
            unused = (number for number in self._free if number not in states)  # those are other sessions'
            if (queue := next(unused, None)) is None:
                log.warning("not-held %s: %d sessions are already", ", ".join(map(str, session)), self._limits.at_once)
                return []
        gate = _gate(session, queue, self._limits.packets)
        self._gates.adopt(gate, states.get(queue))
        self._free.remove(queue)
        self._used[session] = gate
        gate.forgotten = lambda: self._put_back(session)
        return [*gate.elements, *gate.limits]

    def dismiss_others(self, states: Mapping[int, QueueState]) -> int:
        """Have no queue of an earlier life that no session was adopted with; how many packets were in them."""
        others = [queue for queue in states if queue in self._free]
        for queue in others:
            self._gates.dismiss(queue)
        return sum(states[queue].kept for queue in others)

    def release(self, session: Session, *, discard: bool = False) -> None:
        """See Gates.open; of a session that is not held there is nothing to release."""
        if gate := self._used.get(session):
            self._gates.open(gate, discard=EXPIRED if discard else "")

    def rows(self, now: float) -> dict[Session, dict[str, object]]:
        """What is held now, for people to read."""
        sessions = {gate: session for session, gate in self._used.items()}
        return {
            sessions[gate]: {"packets": kept, "dropped": dict(dropped), "held_s": now - gate.closed_at}
            for gate, (kept, dropped) in self._gates.kept().items()
            if gate in sessions
        }

    def _put_back(self, session: Session) -> None:
        self._free.append(self._used.pop(session).queue)


def _gate(session: Session, queue: int, length: int) -> Gate:
    """See filter.py for the sets. A number in a map is loaded in the machine's order."""
    keys = [hnp.network_address.packed[: HNP_LENGTH // 8] for hnp in session]
    ways = [way for key in keys for way in (Element(QUEUE_OF, key, pack("=I", queue)), Element("held", key))]
    return Gate(queue, tuple(ways), tuple(Element("full", key) for key in keys), length, "hold")


def number(data: bytes | None) -> int | None:
    """The queue that an element of the map leads to."""
    return unpack("=I", data)[0] if data else None
