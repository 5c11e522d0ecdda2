"""Raw sockets: who is heard by which, when a message arrived, how many there was no room for."""

import os
import socket
import time
from contextlib import suppress
from errno import ENETUNREACH
from ipaddress import IPv6Address
from struct import pack

import pytest

from common.dataplane.guard import STRANGERS_MARK
from common.errors import ConfigError
from common.mh import raw_socket
from common.mh.codec import decode, encode
from common.mh.messages import Heartbeat
from common.mh.raw_socket import IPPROTO_MH, MAX_AGE, RECEIVE_BUFFER, SO_TIMESTAMPNS, MhSockets, receive


class Stamped:
    """A socket that has one datagram, with the moment of its arrival beside it."""

    def __init__(self, utc: float | None) -> None:
        stamp = pack("@qq", int(utc), int(utc % 1 * 1e9)) if utc is not None else b""
        self._ancillary = [(socket.SOL_SOCKET, SO_TIMESTAMPNS, stamp)] if stamp else []

    def recvmsg(self, _size: int, _room: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, tuple[str, int]]:
        return b"", self._ancillary, 0, ("::1", 0)


@pytest.mark.parametrize(("ago", "age"), [(2.5, 2.5), (0.0, 0.0), (-3600.0, 0.0), (3600.0, MAX_AGE), (None, 0.0)])
def test_message_counts_from_its_arrival(ago: float | None, age: float) -> None:
    """A clock that was set meanwhile makes no moment absurd."""
    stamped = Stamped(None if ago is None else time.time() - ago)
    came_at = receive(stamped)[2]  # type: ignore[arg-type]
    assert time.monotonic() - came_at == pytest.approx(age, abs=0.2)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a raw socket needs root")
HERE, ELSEWHERE = IPv6Address("::1"), IPv6Address("2001:db8::9")


def say(number: int, mark: int = 0) -> None:
    """A message from this node to itself, with the mark that the guard gives to what strangers send."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_MH) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        out.sendto(encode(Heartbeat(sequence=number)), (str(HERE), 0))


def heard(mh: socket.socket) -> list[int]:
    """The sequence numbers of what it has heard."""
    numbers = []
    with suppress(BlockingIOError):
        while True:
            message = decode(receive(mh)[0])
            assert isinstance(message, Heartbeat)
            numbers.append(message.sequence)
    return numbers


@needs_root
def test_what_a_socket_has_no_room_for_is_counted_for_good() -> None:
    with MhSockets(HERE, [HERE]) as sockets:
        strangers, mh = sockets.sockets()
        assert mh.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * RECEIVE_BUFFER  # the kernel counts double
        mh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(100):
            say(number)
        read = len(heard(mh))
        assert 0 < read < 100
        assert sockets.unread() == 100 - read
        assert sockets.without([ELSEWHERE]) == [mh]
        sockets.follow([ELSEWHERE])
        assert mh.fileno() == -1
        assert sockets.unread() == 100 - read
        assert strangers in sockets.sockets()


@needs_root
def test_each_peer_has_a_socket_and_all_strangers_have_one() -> None:
    with MhSockets(HERE, [HERE, ELSEWHERE]) as sockets:
        strangers, here, elsewhere = sockets.sockets()
        say(1)
        assert [heard(each) for each in (strangers, here, elsewhere)] == [[], [1], []]
        sockets.follow([ELSEWHERE])
        say(2, STRANGERS_MARK)  # the guard's word
        assert [heard(each) for each in (strangers, elsewhere)] == [[2], []]
        sockets.follow([HERE])
        say(3)
        assert [heard(each) for each in sockets.sockets()] == [[], [3]]


@needs_root
def test_peers_that_cannot_all_be_heard_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when there are more of them than a process may have descriptors."""
    real, made = raw_socket._open, list[socket.socket]()

    def open_one(local: IPv6Address) -> socket.socket:
        if made:
            raise ConfigError("a socket for signalling: Too many open files")
        made.append(real(local))
        return made[0]

    with MhSockets(HERE, [HERE]) as sockets:
        before = sockets.sockets()
        monkeypatch.setattr(raw_socket, "_open", open_one)
        with pytest.raises(ConfigError, match="Too many open files"):
            sockets.follow([ELSEWHERE, IPv6Address("2001:db8::a")])
        assert sockets.sockets() == before
        assert made[0].fileno() == -1
        say(1)
        assert [heard(each) for each in before] == [[], [1]]


@needs_root
def test_a_peer_that_there_is_no_route_to_yet_is_heard_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unconnected(socket.socket):
        def connect(self, _address: object) -> None:
            raise OSError(ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", Unconnected)
    with MhSockets(HERE, [HERE, ELSEWHERE]) as sockets:
        say(1)
        assert [heard(each) for each in sockets.sockets()] == [[], [1], []]


def test_the_address_must_be_ours() -> None:
    with pytest.raises((ConfigError, PermissionError), match=r"not on any interface|not permitted"):
        MhSockets(IPv6Address("2001:db8::5213"), [])
