"""The shell of both daemons: sockets, one timer, signals. It decides nothing.

One rhythm: something comes (a message, a carrier, a command, the timer), the core is asked, its actions are carried out
in order (`effects.py`), the timer is set to the core's next deadline. A message counts from the moment when it arrived,
however late it is read.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address

from common.actions import (
    UNRECOGNIZED_MH_TYPE,
    Action,
    Advertise,
    Note,
    Send,
    Solicit,
)
from common.core import Core
from common.dataplane.interface import DataPlane
from common.descriptors import notify
from common.effects import Effects
from common.errors import DataPlaneError, MalformedMessage, UnknownMhType
from common.events import Kind, event
from common.garbage import Garbage
from common.journal import Journal
from common.mh.codec import decode
from common.mh.messages import BindingError
from common.mh.raw_socket import MhSockets, receive
from common.persistence import Persistence

LEISURE_DELAY = 0.2  # seconds
TURN = 0.001  # seconds that a peer's messages are served before another's turn comes; one is served always

log = logging.getLogger(__name__)


def utc(now: float) -> float:
    """Seconds since 1970 at the monotonic moment `now`; follows every correction of the clock.

    Who is held up between the two looks comes to a later moment: for what is about to be sent that is right, and what
    has come seems late, which can be told from a clock that differs. The other way round nothing could.
    """
    return now - time.monotonic() + time.time()


class Shell:
    """Joins a core to the world."""

    def __init__(
        self,
        core: Core,
        data_plane: DataPlane,
        mh: MhSockets,
        journal: Journal,
        advertise: Callable[[Advertise], None] | None = None,
        *,
        solicit: Callable[[Solicit], None] | None = None,
        persistence: Persistence | None = None,
    ) -> None:
        self.core = core
        self.data_plane = data_plane
        self.journal = journal
        self.effects = Effects(
            core, data_plane, mh, journal, advertise=advertise, solicit=solicit, persistence=persistence
        )
        self._mh = mh
        self._persistence = persistence
        self._timer: asyncio.TimerHandle | None = None
        self._leisure_timer: asyncio.TimerHandle | None = None
        self._watchdog_timer: asyncio.TimerHandle | None = None
        self._garbage: Garbage | None = None

    async def serve(
        self, ready: Callable[[], None] = lambda: None, reload: Callable[[], Note] = lambda: Note("reloaded")
    ) -> None:
        """Run until SIGTERM or SIGINT; `ready` is called once messages are read, `reload` on each SIGHUP."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up, reload)
        for each in self._mh.sockets():
            loop.add_reader(each, self.receive, each)
        for watched, read in self.data_plane.sockets():
            loop.add_reader(watched, self._data_plane_readable, read)
        ready()
        self._garbage = Garbage(time.monotonic())
        self._arm()
        self.effects.note(Note("started"))
        notify("READY=1")
        self._keep_alive(watchdog_interval())
        await stop.wait()
        notify("STOPPING=1")
        for each in self._mh.sockets():
            loop.remove_reader(each)
        for watched, _ in self.data_plane.sockets():
            loop.remove_reader(watched)
        for timer in (self._timer, self._leisure_timer, self._watchdog_timer):
            if timer:
                timer.cancel()

    def adopted(self, sessions: int, strays: int) -> None:
        """The daemon goes on with so many sessions of an earlier life; strays of it were removed from the kernel."""
        forgotten = self._persistence.watch() if self._persistence else 0
        if sessions or strays or forgotten:
            detail = f"{sessions} sessions; removed {strays} strays, forgot {forgotten} stored entries"
            self.effects.note(Note("adopted", detail=detail))

    def feed(self, actions: Sequence[Action]) -> None:
        """Carry out what the core said, then wait for its next deadline."""
        try:
            self.effects.perform(actions)
        finally:
            self._arm()

    def meet(self, peers: Iterable[IPv6Address]) -> None:
        """Be able to hear these peers, too. Raises ConfigError, and then nothing has changed."""
        self._mh.meet(peers)

    def reach(self, peers: Iterable[IPv6Address]) -> None:
        """Hear these peers from now on, whom it has met, and nobody else but as a stranger."""
        peers, loop = tuple(peers), asyncio.get_running_loop()
        for gone in self._mh.without(peers):
            loop.remove_reader(gone)
        self._mh.follow(peers)
        for each in self._mh.sockets():
            loop.add_reader(each, self.receive, each)

    def receive(self, mh: socket.socket) -> None:
        """Some of what a peer has said; its other words wait for its next turn, so one that floods delays itself."""
        end = time.monotonic() + TURN
        try:
            while True:
                try:
                    data, source, came_at = receive(mh)
                except BlockingIOError:
                    break
                except OSError as error:  # an ICMP error about something we sent
                    self.effects.note(Note("socket-error", detail=str(error)))
                else:
                    self._received(data, source, came_at)
                if time.monotonic() >= end:
                    break
        finally:
            self._arm()

    def _received(self, data: bytes, source: IPv6Address, came_at: float) -> None:
        try:
            message = decode(data)
        except UnknownMhType as error:
            self.effects.note(Note(error.reason, peer=source, detail=str(error)))
            self.effects.perform([Send(source, BindingError(status=UNRECOGNIZED_MH_TYPE))])
        except MalformedMessage as error:
            self.effects.note(Note(f"malformed-{error.reason}", peer=source, detail=str(error)))
        else:
            self.journal.write("received", message, peer=source, mn_id=getattr(message, "mn_id", None))
            kinds = [
                event(note.event).kind for note in self.effects.perform(self.core.receive(source, message, came_at))
            ]
            outcome = next((kind for kind in kinds if kind is not Kind.DONE), Kind.DONE)
            self.effects.messages["received", message.name, outcome.value] += 1

    def _data_plane_readable(self, read: Callable[[], None]) -> None:
        try:
            self.effects.attempt(read)
        finally:
            self._arm()

    def _arm(self) -> None:
        """The next deadline is waited for, whatever came of a turn, an error of ours included."""
        loop = asyncio.get_running_loop()
        moments = (self.core.deadline(), self.data_plane.deadline())
        deadline = min((moment for moment in moments if moment is not None), default=None)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = loop.call_at(deadline, self._expired)
        unsettled = self.journal.pending or (self._persistence and self._persistence.unsettled)
        if (unsettled or (self._garbage and self._garbage.waits)) and self._leisure_timer is None:
            self._leisure_timer = loop.call_later(LEISURE_DELAY, self._at_leisure)

    def _expired(self) -> None:
        now = time.monotonic()
        try:
            self.effects.attempt(lambda: self.data_plane.expire(now))
            self.effects.perform(self.core.expire(now))
        finally:
            self._arm()

    def _hung_up(self, reload: Callable[[], Note]) -> None:
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self.effects.note(reload())
        notify("READY=1")
        self._arm()

    def _keep_alive(self, interval: float | None) -> None:
        """The word for the watchdog comes from here, between everything else: a loop that hangs does not say it."""
        if interval is not None:
            notify("WATCHDOG=1")
            self._watchdog_timer = asyncio.get_running_loop().call_later(interval, self._keep_alive, interval)

    def _at_leisure(self) -> None:
        """What nothing waits for: files, and the search for garbage."""
        self._leisure_timer = None
        self.journal.flush()
        if self._garbage:
            self._garbage.search(time.monotonic())
        if self._persistence and self._persistence.settle():
            asyncio.get_running_loop().run_in_executor(None, self._persistence.sync)
        self.effects.tell_of_others()


def watchdog_interval() -> float | None:
    """Seconds between two words that we live: half of what the service manager waits (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC")
    return int(microseconds) / 2e6 if microseconds else None


@contextmanager
def only_one(program: str) -> Iterator[None]:
    """Be the only `program` of this network namespace: two would take each other's routes for strays.

    Raises DataPlaneError while there is another. An abstract socket belongs to a network namespace, as routes do, and
    is free as soon as its process has ended, however that ended.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as claim:
        try:
            claim.bind(f"\0context-reflector-{program}")
        except OSError as error:
            raise DataPlaneError(f"another {program} is running in this network namespace already") from error
        yield
