"""Messages of the kernel's packet queues (NFQUEUE, linux/netfilter/nfnetlink_queue.h); pyroute2 has none.

A queue is a number bound to one netlink socket, dies with it, and keeps its packets in the kernel, in order of arrival.
What the kernel did with a message is known when `sendmsg` returns: its acknowledgement lies in the socket.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.dataplane import bpf
from common.dataplane.netlink import (
    ATTRIBUTE,
    ERROR,
    GENERIC,
    HEADER,
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    attribute,
)
from common.errors import DataPlaneError

NFNL_SUBSYS_QUEUE = 3
MSG_PACKET, MSG_VERDICT, MSG_CONFIG, MSG_VERDICT_BATCH = 0, 1, 2, 3
NFQA_PACKET_HDR, NFQA_VERDICT_HDR, NFQA_IFINDEX_INDEV, NFQA_PAYLOAD = 1, 2, 5, 10
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN, CFG_MASK, CFG_FLAGS = 1, 2, 3, 4, 5
CMD_BIND, CMD_UNBIND = 1, 2
COPY_META, COPY_PACKET = 1, 2
FAIL_OPEN, GSO = 0x1, 0x4
DROP, ACCEPT, REPEAT = 0, 1, 4
EVERY_ID = 0x7FFFFFFF  # ids are compared modulo 2^32; a queue is bound anew long before it has seen so many
PRIVILEGED_RECEIVE_BUFFER = 33  # SO_RCVBUFFORCE
IPV6_HEADER_LENGTH = 40
STATISTICS = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")

_VERDICT = struct.Struct("!II")  # verdict, packet id
_U32 = struct.Struct("!I")


def _message(kind: int, queue: int, *attributes: bytes, acknowledge: bool = True) -> bytearray:
    body = GENERIC.pack(socket.AF_UNSPEC, 0, queue) + b"".join(attributes)
    flags = NLM_F_REQUEST | (NLM_F_ACK if acknowledge else 0)
    return bytearray(HEADER.pack(HEADER.size + len(body), NFNL_SUBSYS_QUEUE << 8 | kind, flags, 0, 0) + body)


def _flags(values: int, mask: int) -> bytes:
    return attribute(CFG_FLAGS, _U32.pack(values)) + attribute(CFG_MASK, _U32.pack(mask))


def bind(queue: int, length: int, copy_octets: int = 0) -> bytearray:
    """Make the queue, of at most `length` packets; each packet's first octets are sent to the socket, or nothing.

    A super-packet (GSO) stays whole and takes one place.
    """
    return _message(
        MSG_CONFIG,
        queue,
        attribute(CFG_CMD, struct.pack("!BxH", CMD_BIND, socket.AF_INET6)),
        attribute(CFG_PARAMS, struct.pack("!IB", copy_octets, COPY_PACKET if copy_octets else COPY_META)),
        attribute(CFG_QUEUE_MAXLEN, _U32.pack(length)),
        _flags(GSO, GSO | FAIL_OPEN),
    )


def unbind(queue: int) -> bytearray:
    """End the queue; what is in it is dropped, its counters are gone."""
    return _message(MSG_CONFIG, queue, attribute(CFG_CMD, struct.pack("!BxH", CMD_UNBIND, socket.AF_INET6)))


def limit(queue: int, length: int, *, acknowledge: bool = True) -> bytearray:
    """Let it keep at most `length` packets from now on."""
    return _message(MSG_CONFIG, queue, attribute(CFG_QUEUE_MAXLEN, _U32.pack(length)), acknowledge=acknowledge)


def fail_open(queue: int, on: bool, *, acknowledge: bool = True) -> bytearray:
    """Whether packets for which there is no room pass instead of being dropped."""
    return _message(MSG_CONFIG, queue, _flags(FAIL_OPEN if on else 0, FAIL_OPEN), acknowledge=acknowledge)


def verdict_on_all(queue: int, verdict: int, *, acknowledge: bool = True) -> bytearray:
    """For every packet in the queue, in order; the kernel answers ENOENT when there is none."""
    header = attribute(NFQA_VERDICT_HDR, _VERDICT.pack(verdict, EVERY_ID))
    return _message(MSG_VERDICT_BATCH, queue, header, acknowledge=acknowledge)


def verdict_on_one(queue: int, packet: int, verdict: int) -> bytearray:
    """Unacknowledged. A packet that is gone (its device went down) is nobody's concern."""
    return _message(MSG_VERDICT, queue, attribute(NFQA_VERDICT_HDR, _VERDICT.pack(verdict, packet)), acknowledge=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """A packet that is in a queue: its id there, the device it came by, its first octets."""

    packet: int
    device: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the kernel counts for a queue: kept now, given an id so far, dropped for want of room or of memory."""

    kept: int
    entered: int
    full: int
    undelivered: int


def states() -> dict[int, QueueState]:
    """Of every queue in this network namespace, by its number."""
    rows = (line.split() for line in STATISTICS.read_text().splitlines())
    return {int(row[0]): QueueState(int(row[2]), int(row[7]), int(row[5]), int(row[6])) for row in rows}


class QueueSocket:
    """The owner of queues. With `silent` the kernel's notice of each packet is thrown away before it gets here.

    `inherited` is the descriptor of the one that an earlier life of the daemon had: its queues are still there.
    """

    def __init__(self, *, silent: bool, receive_buffer: int | None = None, inherited: int | None = None) -> None:
        self._sequence = 0
        self.is_inherited = inherited is not None
        if inherited is not None:
            self._socket = socket.socket(fileno=inherited)
            self.forget_notices()
            return
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, PRIVILEGED_RECEIVE_BUFFER, receive_buffer)
        if silent:
            bpf.attach(self._socket, bpf.netlink(NLMSG_ERROR))  # every acknowledgement is one
        self._socket.bind((0, 0))

    def fileno(self) -> int:
        return self._socket.fileno()

    def request(self, messages: Sequence[bytearray]) -> list[int]:
        """Send all in one call, in order; the errno of each, 0 for done. Not for a socket that gets notices.

        The last one must be acknowledged. Of one that is not, an error is told all the same.
        """
        places: dict[int, int] = {}
        for place, message in enumerate(messages):
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
            places[self._sequence] = place
            struct.pack_into("=I", message, 8, self._sequence)
        self._socket.send(b"".join(messages))
        outcome = [0] * len(messages)
        while True:
            data = self._socket.recv(1 << 16)  # each answer is a datagram of its own
            _length, kind, _flags, sequence, _port = HEADER.unpack_from(data)
            if kind == NLMSG_ERROR and sequence in places:
                outcome[places[sequence]] = -int(ERROR.unpack_from(data, HEADER.size)[0])
                if sequence == self._sequence:
                    return outcome

    def demand(self, messages: Sequence[bytearray]) -> None:
        """`request`, but raises DataPlaneError unless all are done."""
        for error in self.request(messages):
            if error:
                hint = " (another process owns the queue?)" if error in (errno.EPERM, errno.EBUSY) else ""
                raise DataPlaneError(f"the kernel refused a packet queue: {os.strerror(error)}{hint}")

    def tell(self, message: bytearray) -> None:
        """Send one that is not acknowledged."""
        self._socket.send(message)

    def notices(self, most: int) -> Iterable[Notice]:
        """The packets that were announced since the last call, in order, at most so many."""
        for _ in range(most):
            try:
                data = self._socket.recv(1 << 12)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the kernel dropped those it could not announce, and counted them
                    raise
                continue
            if notice := _parse(data):
                yield notice

    def forget_notices(self) -> None:
        """What was announced, or answered, and not read is of no use to a later life."""
        while True:
            try:
                self._socket.recv(1 << 12)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        self._socket.close()


def _parse(data: bytes) -> Notice | None:
    length, kind, *_ = HEADER.unpack_from(data)
    if kind != NFNL_SUBSYS_QUEUE << 8 | MSG_PACKET:
        return None
    packet, device, octets = 0, 0, b""
    offset = HEADER.size + GENERIC.size
    while offset + ATTRIBUTE.size <= length:
        size, kind = ATTRIBUTE.unpack_from(data, offset)
        start = offset + ATTRIBUTE.size
        if kind == NFQA_PACKET_HDR:
            packet = _U32.unpack_from(data, start)[0]
        elif kind == NFQA_IFINDEX_INDEV:
            device = _U32.unpack_from(data, start)[0]
        elif kind == NFQA_PAYLOAD:
            octets = data[start : offset + size]
        offset += (size + 3) & ~3
    return Notice(packet, device, octets)
