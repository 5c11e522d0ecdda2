"""When things happen in a measured run: at fixed points of the interval in which packets follow each other.

Who sends when is decided by the moment at which a program goes on: each is stopped at its first packet, by when it has
been loaded and has found its peer (which takes as long as it likes), and continued at an exact moment.
"""

import socket
import struct
import time
from collections.abc import Callable
from math import ceil
from statistics import median
from types import TracebackType
from typing import NamedTuple, Self

from testbed.lab.node import LabError, Node, now_ns

_ETH_P_ALL = 0x0003  # the only one that shows what is sent, too
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_SNAP_OCTETS = 64
_NUMBER = slice(56, 60)
SAMPLE = 5  # packets of a stream that are watched for their rhythm
# Of CLOCK_MONOTONIC: a multiple of every kernel's tick, so that what the kernel does by ticks is at the same point too.
_ROUND_NS = 100_000_000
_ALIVE_POLL_S = 0.5
# While a guest waits for a file of its host, its virtual clock runs from timer to timer: seconds of it are short then.
_START_TIMEOUT_S = 300.0

PacketFilter = Callable[[bytes], bool]


class Rhythm(NamedTuple):
    """Moments (CLOCK_REALTIME, ns) at this interval, numbered as the packets of a stream; `origin_ns` is number 0."""

    origin_ns: float
    interval_ns: int

    def at(self, number: int) -> int:
        return round(self.origin_ns + number * self.interval_ns)

    def first_after(self, moment_ns: int) -> int:
        """The number of the first moment that is not before."""
        return ceil((moment_ns - self.origin_ns) / self.interval_ns)

    def beats(self, at_least_s: float) -> int:
        """Whole intervals that make up this time."""
        return ceil(at_least_s * 1e9 / self.interval_ns)

    def shifted(self, by_ns: float) -> Self:
        return self._replace(origin_ns=self.origin_ns + by_ns)


def next_round_ns() -> int:
    """The next moment (CLOCK_REALTIME) at which CLOCK_MONOTONIC is a round number."""
    now_monotonic_ns = time.monotonic_ns()
    return now_ns() + -now_monotonic_ns % _ROUND_NS


class Tap:
    """Sees the packets of a node that `wanted` says, outgoing or incoming; a context manager."""

    def __init__(self, node: Node, wanted: PacketFilter, *, outgoing: bool) -> None:
        self._wanted = wanted
        self._outgoing = outgoing
        with node.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def wait(self, what: str, require_alive: Callable[[], None], timeout_s: float = _START_TIMEOUT_S) -> None:
        """Return when one passes. Raises LabError when none does in time, or what `require_alive` raises."""
        deadline = time.monotonic() + timeout_s
        self._socket.settimeout(_ALIVE_POLL_S)
        while time.monotonic() < deadline:
            try:
                if self._next():
                    return
            except TimeoutError:
                require_alive()
        raise LabError(f"{what}: not within {timeout_s:g} s")

    def rhythm(self, interval_ns: int, within_s: float = 0.0) -> Rhythm:
        """That of iperf3's packets at this interval: watched without being in their way. Raises LabError if none pass.

        The first passes within that time. Of a few packets the median counts: the odd one is late, because somebody
        else had the processor.
        """
        time.sleep(within_s + SAMPLE * interval_ns / 1e9)
        self._socket.setblocking(False)
        origins_ns: list[int] = []
        try:
            while True:
                if seen := self._next():
                    origins_ns.append(seen.t_ns - seen.number * interval_ns)
        except BlockingIOError:
            if not origins_ns:
                raise LabError("iperf3 sends nothing") from None
            return Rhythm(median(origins_ns), interval_ns)

    def _next(self) -> "_Seen | None":
        packet, ancillary, _, (_, _, kind, *_) = self._socket.recvmsg(_SNAP_OCTETS, socket.CMSG_SPACE(_TIMESPEC.size))
        if (kind == socket.PACKET_OUTGOING) != self._outgoing or not self._wanted(packet):
            return None
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
        return _Seen(int(seconds * 1_000_000_000 + nanoseconds), int.from_bytes(packet[_NUMBER]))


class _Seen(NamedTuple):
    t_ns: int
    number: int  # of a test packet (`observations.py`)


def udp_to(port: int) -> PacketFilter:
    """IPv6 UDP packets to that port."""
    wanted = port.to_bytes(2)
    return lambda packet: packet[6:7] == bytes([socket.IPPROTO_UDP]) and packet[42:44] == wanted


def echo_request(packet: bytes) -> bool:
    """Whether it is what `ping -6` sends."""
    return packet[6:7] == bytes([socket.IPPROTO_ICMPV6]) and packet[40:41] == bytes([128])
