"""When a message arrived, as the kernel noted it."""

import socket
import time
from struct import pack

import pytest

from common.mh.raw_socket import MAX_AGE, SO_TIMESTAMPNS, receive


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
