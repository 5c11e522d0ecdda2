"""Raw sockets for next header 135. Linux fills in and verifies the checksum itself (`rawv6_init_sk`, offset 4).

Each peer has a socket of its own, so that one that floods fills no buffer but its own, and the others' words do not
wait behind what it has said. One more is for whoever is no peer.

A message may have waited in the socket: while the daemon was starting, or behind many others. What it says of time is
judged by when it came (RFC 5213 section 5.5), so the kernel notes that.
"""

import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Address
from struct import Struct
from types import TracebackType
from typing import Self

from common.dataplane import bpf
from common.dataplane.guard import STRANGERS_MARK
from common.errors import ConfigError

IPPROTO_MH = 135
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55  # SK_MEMINFO_VARS numbers of 32 bits, the last is SK_MEMINFO_DROPS
MAX_AGE = 60.0  # seconds; more is a clock that was set meanwhile
_TIMESPEC = Struct("@qq")
_MEMINFO = Struct("@9I")
RECEIVE_BUFFER = 4 << 20  # octets: a burst of a few thousand messages


class MhSockets:
    """All of them, bound to the address that is both LMAA or Proxy-CoA and the tunnels' end.

    Who is a stranger the guard says, by a mark: without the guard's rules none is heard.
    """

    def __init__(self, local: IPv6Address, peers: Iterable[IPv6Address]) -> None:
        self._local = local
        self._of: dict[IPv6Address, socket.socket] = {}
        self._closed = 0  # messages that sockets of former peers had no room for
        self._strangers = _open(local)
        try:
            bpf.attach(self._strangers, bpf.marked(STRANGERS_MARK))
            self.follow(peers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def sockets(self) -> list[socket.socket]:
        """Non-blocking, to read from by `receive`."""
        return [self._strangers, *self._of.values()]

    def without(self, peers: Iterable[IPv6Address]) -> list[socket.socket]:
        """The sockets that will be closed when these are the peers."""
        wanted = frozenset(peers)
        return [each for peer, each in self._of.items() if peer not in wanted]

    def meet(self, peers: Iterable[IPv6Address]) -> None:
        """These are peers, too. Raises ConfigError, and then nothing has changed."""
        made: dict[IPv6Address, socket.socket] = {}
        try:
            for peer in dict.fromkeys(peers):
                if peer not in self._of:
                    made[peer] = _connected(self._local, peer)
        except BaseException:
            for each in made.values():
                each.close()
            raise
        self._of |= made

    def follow(self, peers: Iterable[IPv6Address]) -> None:
        """These are the peers from now on. Raises ConfigError, and then nothing has changed."""
        wanted = dict.fromkeys(peers)
        self.meet(wanted)
        for peer in [peer for peer in self._of if peer not in wanted]:
            gone = self._of.pop(peer)
            self._closed += unread(gone)
            gone.close()

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        """Raises OSError."""
        self._strangers.sendto(data, address)

    def unread(self) -> int:
        """How many messages the kernel has dropped because a socket's buffer was full."""
        return self._closed + sum(map(unread, self.sockets()))

    def close(self) -> None:
        for each in self.sockets():
            each.close()


def receive(mh: socket.socket) -> tuple[bytes, IPv6Address, float]:
    """A message, who sent it, and the moment by time.monotonic() when it came. Raises OSError."""
    data, ancillary, _, address = mh.recvmsg(65535, socket.CMSG_SPACE(_TIMESPEC.size))
    age = 0.0
    for _, _, stamp in ancillary:
        seconds, nanoseconds = _TIMESPEC.unpack(stamp)
        age = time.time() - seconds - nanoseconds / 1e9
    return data, IPv6Address(address[0]), time.monotonic() - min(max(age, 0.0), MAX_AGE)


def unread(mh: socket.socket) -> int:
    return int(_MEMINFO.unpack(mh.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))[-1])


def _open(local: IPv6Address) -> socket.socket:
    """One that hears nothing yet: as it is made, a raw socket would hear everybody."""
    try:
        mh = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, IPPROTO_MH)
        bpf.attach(mh, bpf.NOTHING)
        try:
            mh.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # without CAP_NET_ADMIN no more than net.core.rmem_max
            mh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        mh.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except PermissionError:
        raise
    except OSError as error:
        raise ConfigError(f"a socket for signalling: {error.strerror}") from error
    try:
        mh.bind((str(local), 0))
    except OSError as error:
        mh.close()
        raise ConfigError(f"address {local} is not on any interface of this node: {error.strerror}") from error
    _discard(mh)
    return mh


def _connected(local: IPv6Address, peer: IPv6Address) -> socket.socket:
    """One that hears this peer only."""
    mh = _open(local)
    try:
        mh.connect((str(peer), 0))
    except OSError:  # the kernel wants a route for that, and there is none yet; this costs more for each packet
        bpf.attach(mh, bpf.from_source(peer))
    else:
        bpf.detach(mh)
    return mh


def _discard(mh: socket.socket) -> None:
    """What it heard before it had its filter, which others hear, too."""
    with suppress(BlockingIOError):
        while True:
            mh.recv(1)
