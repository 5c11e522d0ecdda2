"""Heartbeats between an LMA and its MAGs (RFC 5847): is the peer reachable, has it lost its sessions.

Pure; state lies in `_peers`, one `Peer` for each that was ever watched or heard. `received` and `expire` say what
happened to a peer as events; what follows from them each daemon's core decides.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from math import inf

from common.actions import Action, Note, Send
from common.deadlines import Deadlines
from common.mh.messages import Heartbeat

SEQUENCE_SPACE = 1 << 32


class Fate(Enum):
    """What became of a peer."""

    FAILED = "failed"  # it has not answered MISSING_HEARTBEATS_ALLOWED requests and one more
    RECOVERED = "recovered"  # it answers again
    RESTARTED = "restarted"  # and has lost its sessions


@dataclass(frozen=True, slots=True)
class PeerEvent:
    """`known_until`: when the peer last said that it had not restarted yet; -inf: it never did."""

    fate: Fate
    peer: IPv6Address
    known_until: float


Outcome = tuple[list[Action], list[PeerEvent]]


@dataclass(slots=True)
class Peer:
    """One peer; moments are the core's `now`."""

    sequence: int = 0
    waiting: bool = False  # for the answer to the last request
    missing: int = 0
    failed: bool = False
    supported: bool = True
    restart_counter: int | None = None
    heard: float = -inf


class Heartbeats:
    """All peers. `interval` in seconds and `missing_allowed` as in section 5; `restart_counter` is our own."""

    def __init__(self, interval: float, missing_allowed: int, restart_counter: int) -> None:
        self.restart_counter = restart_counter
        self._interval = interval
        self._missing_allowed = missing_allowed
        self._peers: dict[IPv6Address, Peer] = {}
        self._requests: Deadlines[IPv6Address] = Deadlines()  # of the peers that share a session

    def follow(self, interval: float, missing_allowed: int, now: float) -> None:
        """Go on by other variables; nobody waits longer for the next request than the new interval."""
        self._missing_allowed = missing_allowed
        if interval != self._interval:
            self._interval = interval
            for peer in self._peers:
                if peer in self._requests:
                    self._requests.set(peer, now + interval)

    def announce(self, peers: Iterable[IPv6Address]) -> list[Action]:
        """Section 3.2: we restarted and have lost our sessions; no answer is expected."""
        return [Send(peer, self._response(0, unsolicited=True)) for peer in peers]

    def watch(self, peer: IPv6Address, now: float) -> None:
        """A session is shared with this peer: it is asked every interval for as long as there is one."""
        if peer not in self._requests and self._peers.setdefault(peer, Peer()).supported:
            self._requests.set(peer, now + self._interval)

    def received(self, source: IPv6Address, beat: Heartbeat, now: float) -> Outcome:
        """A heartbeat from a peer that may send one."""
        peer = self._peers.setdefault(source, Peer())
        peer.supported = True  # whatever a Binding Error, or an earlier life of the peer, has said
        if not beat.response:  # answered whether or not there are sessions
            return [Send(source, self._response(beat.sequence))], []
        if not beat.unsolicited and (not peer.waiting or beat.sequence != peer.sequence):
            return [Note("heartbeat-unmatched", peer=source)], []
        events = []
        if not beat.unsolicited:
            peer.waiting = False
        if peer.failed:
            events.append(PeerEvent(Fate.RECOVERED, source, peer.heard))
        peer.missing, peer.failed = 0, False
        known = peer.restart_counter
        if beat.restart_counter is not None:
            # An unsolicited one says by itself that its sender restarted; said twice it is the same restart.
            restarted = beat.restart_counter != known and (known is not None or beat.unsolicited)
            if restarted:
                events.append(PeerEvent(Fate.RESTARTED, source, peer.heard))
            peer.restart_counter = beat.restart_counter
        peer.heard = now
        return _notes(events), events

    def not_recognized(self, peer: IPv6Address) -> bool:
        """A Binding Error of status 2 came: whether it is the answer to a request. Then the peer is asked no more."""
        known = self._peers.get(peer)
        if known is None or not known.waiting or known.heard > -inf:
            return False
        self._unwatch(peer, known)
        known.supported = False
        return True

    def deadline(self) -> float:
        return self._requests.next()

    def expire(self, now: float, shares_session: Callable[[IPv6Address], bool]) -> Outcome:
        """Send what is due; sections 3 and 3.1."""
        actions: list[Action] = []
        events: list[PeerEvent] = []
        while (address := self._requests.due(now)) is not None:
            peer = self._peers[address]
            if not shares_session(address):
                self._unwatch(address, peer)
                continue
            if peer.waiting:
                peer.missing += 1
                if peer.missing > self._missing_allowed and not peer.failed:
                    peer.failed = True
                    events.append(PeerEvent(Fate.FAILED, address, peer.heard))
            peer.sequence = (peer.sequence + 1) % SEQUENCE_SPACE
            peer.waiting = True
            self._requests.set(address, now + self._interval)
            actions.append(Send(address, Heartbeat(sequence=peer.sequence)))
        return [*actions, *_notes(events)], events

    def failed(self, peer: IPv6Address) -> bool:
        """Whether the peer is known not to answer."""
        known = self._peers.get(peer)
        return known is not None and known.failed

    def reachable(self) -> dict[IPv6Address, bool]:
        """Whether each peer answers; of one that was never heard from nothing is known until it has failed."""
        return {peer: not known.failed for peer, known in self._peers.items() if known.failed or known.heard > -inf}

    def row(self, peer: IPv6Address, now: float) -> dict[str, object]:
        """What a table of peers says of it; `reachable` is None while nobody has asked."""
        known = self._peers.get(peer, Peer())
        reachable = None if known.heard == -inf and not known.failed else not known.failed
        return {
            "reachable": reachable,
            "heartbeats": known.supported,
            "missing_heartbeats": known.missing,
            "restart_counter": known.restart_counter,
            "heard_s_ago": None if known.heard == -inf else round(now - known.heard, 1),
        }

    def _response(self, sequence: int, unsolicited: bool = False) -> Heartbeat:
        return Heartbeat(
            sequence=sequence, response=True, unsolicited=unsolicited, restart_counter=self.restart_counter
        )

    def _unwatch(self, address: IPv6Address, peer: Peer) -> None:
        self._requests.discard(address)
        peer.waiting, peer.missing, peer.failed = False, 0, False


def _notes(events: Iterable[PeerEvent]) -> list[Action]:
    return [_note(event) for event in events]


def _note(event: PeerEvent) -> Note:
    match event.fate:
        case Fate.FAILED:
            return Note("peer-failed", peer=event.peer)
        case Fate.RECOVERED:
            return Note("peer-recovered", peer=event.peer)
        case Fate.RESTARTED:
            return Note("peer-restarted", peer=event.peer)
