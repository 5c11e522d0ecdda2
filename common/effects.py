"""What a core says is done: messages sent, the kernel changed, Router Advertisements and solicitations put on links.

All of it is counted and written into the journal. A Forward that the kernel refuses ends its list of actions if
somebody waits for it, who is told.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address
from typing import TypeVar

from common.actions import Action, Advertise, Forward, HoldUplink, Note, Send, Solicit, ToPeer
from common.core import Core
from common.dataplane.interface import DataPlane
from common.errors import DataPlaneError
from common.events import Kind
from common.journal import Journal
from common.logs import NoteLog
from common.mh.codec import encode
from common.mh.messages import Message
from common.mh.raw_socket import MhSockets
from common.persistence import Persistence

T = TypeVar("T", Advertise, Solicit)


class Effects:
    """`events` counts notes, `messages` by direction, name and outcome."""

    def __init__(
        self,
        core: Core,
        data_plane: DataPlane,
        mh: MhSockets,
        journal: Journal,
        *,
        advertise: Callable[[Advertise], None] | None,
        solicit: Callable[[Solicit], None] | None,
        persistence: Persistence | None,
    ) -> None:
        self.events: Counter[str] = Counter()
        self.messages: Counter[tuple[str, str, str]] = Counter()
        self._core = core
        self._data_plane = data_plane
        self._mh = mh
        self._journal = journal
        self._advertise = advertise
        self._solicit = solicit
        self._persistence = persistence
        self._log = NoteLog()

    def counters(self) -> dict[str, int]:
        """Messages by name and direction, events, and the kernel's drops by reason."""
        counted = Counter(self.events)
        for (direction, name, outcome), count in self.messages.items():
            if outcome != Kind.FAILED.value or direction == "received":
                counted[f"{direction}-{name}"] += count
        kernel = {f"kernel-dropped-{reason}": count for reason, count in self.drops().items()}
        return dict(sorted(counted.items())) | kernel

    def drops(self) -> dict[str, int]:
        """What the kernel dropped by our rules, or because we did not read it in time, by reason."""
        lost = self._mh.unread()
        return self._data_plane.drops() | ({"signalling-unread": lost} if lost else {})

    def perform(self, actions: Sequence[Action]) -> list[Note]:
        """Carry them out in order; what of it is worth noting."""
        if self._persistence:
            self._persistence.save()  # before anything is done that follows from it
        notes: list[Note] = []
        failed: list[Note] = []
        for action in actions:
            match action:
                case Send(destination, message):
                    self._send(destination, message)
                case Forward():
                    try:
                        self._forward(action)
                    except DataPlaneError as error:
                        undoing = self._core.forwarding_failed(action, error, time.monotonic())
                        failed += self.perform(undoing)
                        if any(isinstance(each, Send) for each in undoing):  # somebody waited for it, and was told
                            break
                case Advertise():
                    self._on_link(action, self._advertise)
                case Solicit():
                    self._on_link(action, self._solicit)
                case HoldUplink(interface, keep):
                    self.attempt(lambda: self._data_plane.hold_uplink(interface, keep))
                case Note():
                    self._journal.write(action.event, mn_id=action.mn_id, peer=action.peer, detail=action.detail)
                    notes.append(action)
        for note in notes:  # what a person reads is written when the packets have gone
            self.note(note)
        self.tell_of_others()
        return notes + failed

    def _send(self, destination: IPv6Address, message: Message) -> None:
        try:
            self._mh.sendto(encode(message), (str(destination), 0))
        except (OSError, ValueError) as error:  # the network is unreachable, or the format cannot say it
            self.note(Note("send-failed", peer=destination, detail=f"{message.name}: {error}"))
            self.messages["sent", message.name, Kind.FAILED.value] += 1
            return
        self.messages["sent", message.name, Kind.DONE.value] += 1
        self._journal.write("sent", message, peer=destination, mn_id=getattr(message, "mn_id", None))

    def _on_link(self, action: T, send: Callable[[T], None] | None) -> None:
        assert send, action
        try:
            send(action)
        except OSError as error:  # the link went down meanwhile
            what = "advertisement" if isinstance(action, Advertise) else "solicitation"
            self.note(Note(f"{what}-failed", detail=f"{action.interface}: {error.strerror}"))

    def _forward(self, forward: Forward) -> None:
        self._data_plane.apply(forward)
        downlink: object = "none"
        if forward.forwarding:
            target = forward.forwarding.downlink
            downlink = target.peer if isinstance(target, ToPeer) else type(target).__name__.removeprefix("To").lower()
        self._journal.write("forwarding", mn_id=forward.mn_id, downlink=downlink)

    def note(self, note: Note) -> None:
        self.events[note.event] += 1
        if note.logged:
            self._log.note(note, time.monotonic())

    def tell_of_others(self) -> None:
        """Store and journal, should they begin to fail, or be as they should again; what the data plane has mended."""
        stored = [self._persistence.notes] if self._persistence else []
        for notes in [self._journal.notes, *stored, self._data_plane.notes]:
            while notes:
                self.note(notes.popleft())

    def attempt(self, step: Callable[[], None]) -> None:
        """A step that no answer depends on: when the kernel refuses it, that is noted."""
        try:
            step()
        except DataPlaneError as error:
            self.note(Note("data-plane-refused", detail=str(error)))
        self.tell_of_others()
