"""Who sends many messages makes only itself wait: each peer has a socket, and its turn."""

import asyncio
import threading
import time
from ipaddress import IPv6Address
from typing import cast

from common.actions import Action, Forward
from common.daemon import TURN
from common.errors import DataPlaneError
from common.mh.codec import encode
from common.mh.messages import Heartbeat, Message
from common.mh.raw_socket import MhSockets
from tests.shells import Wire, serving, shell

ONE, OTHER = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")


class Listener:
    """A core that remembers from whom it heard, until it has heard enough."""

    def __init__(self, enough: int) -> None:
        self.heard: list[IPv6Address] = []
        self.done = threading.Event()
        self._enough = enough

    def receive(self, source: IPv6Address, _message: Message, _now: float) -> list[Action]:
        self.heard.append(source)
        end = time.monotonic() + TURN
        while time.monotonic() < end:  # it takes its time
            pass
        if len(self.heard) == self._enough:
            self.done.set()
        return []

    def deadline(self) -> float | None:
        return None

    def expire(self, _now: float) -> list[Action]:
        return []

    def forwarding_failed(self, _forward: Forward, error: DataPlaneError, _now: float) -> list[Action]:
        raise error


class Wires:
    """A socket for each peer, as MhSockets has them."""

    def __init__(self, *wires: Wire) -> None:
        self._wires = list(wires)
        self.gone: list[Wire] = []

    def sockets(self) -> list[Wire]:
        return self._wires

    def unread(self) -> int:
        return 0

    def without(self, peers: object) -> list[Wire]:
        return [wire for wire in self._wires if wire.peer not in peers]  # type: ignore[operator]

    def follow(self, peers: object) -> None:
        self.gone += self.without(peers)
        self._wires = [wire for wire in self._wires if wire not in self.gone]


FLOOD = 50  # messages, more than a turn has room for


def test_a_peer_that_floods_delays_another_by_a_turn() -> None:
    core = Listener(FLOOD + 1)
    with shell(core) as (daemon, flooding, _):
        flooding.peer, other = ONE, Wire(OTHER)
        daemon._mh = cast(MhSockets, Wires(flooding, other))
        for number in range(FLOOD):
            flooding.put(encode(Heartbeat(sequence=number)), ONE)
        other.put(encode(Heartbeat(sequence=0)), OTHER)

        def wait() -> None:
            assert core.done.wait(30)

        asyncio.run(serving(daemon, wait))
        other.close()
    assert set(core.heard[:2]) == {ONE, OTHER}
    assert core.heard.count(ONE) == FLOOD


def test_who_is_no_peer_any_more_is_not_read() -> None:
    core = Listener(1)
    with shell(core) as (daemon, former, _):
        former.peer, other = ONE, Wire(OTHER)
        wires = Wires(former, other)
        daemon._mh = cast(MhSockets, wires)

        def change() -> None:
            loop[0].call_soon_threadsafe(daemon.reach, (OTHER,))
            loop[0].call_soon_threadsafe(former.put, encode(Heartbeat(sequence=1)), ONE)
            loop[0].call_soon_threadsafe(other.put, encode(Heartbeat(sequence=1)), OTHER)
            assert core.done.wait(30)

        loop: list[asyncio.AbstractEventLoop] = []

        async def run() -> None:
            loop.append(asyncio.get_running_loop())
            await serving(daemon, change)

        asyncio.run(run())
        other.close()
    assert core.heard == [OTHER]
    assert wires.gone == [former]


class Faulty(Listener):
    """Of its deadlines the first one leads to an error of the program's."""

    def __init__(self) -> None:
        super().__init__(1)
        self._moments = [time.monotonic(), time.monotonic() + 0.01]

    def deadline(self) -> float | None:
        return self._moments[0] if self._moments else None

    def expire(self, _now: float) -> list[Action]:
        self._moments.pop(0)
        if self._moments:
            raise KeyError("for the test")
        self.done.set()
        return []


def test_an_error_of_the_programs_stops_no_timer() -> None:
    core = Faulty()
    with shell(core) as (daemon, _wire, _):

        def wait() -> None:
            assert core.done.wait(10)

        asyncio.run(serving(daemon, wait))
