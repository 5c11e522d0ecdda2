"""Read a capture as `tcpdump -i any --time-stamp-precision=nano` leaves it: nanoseconds, LINUX_SLL2, whole packets.

That and nothing more, because a run has up to a million frames. Formats: draft-ietf-opsawg-pcap, and
https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NANOSECOND_MAGIC = 0xA1B23C4D
_LINKTYPE_LINUX_SLL2 = 276
_FILE_HEADER_OCTETS = 24
_RECORD_HEADER_OCTETS = 16
_SLL2 = struct.Struct("!HHIHBB8x")  # protocol, reserved, interface index, ARPHRD, packet type, address length (address)
_ETH_P_IPV6 = 0x86DD
_PACKET_OTHERHOST = 3  # seen in passing: the stack drops it
_PACKET_OUTGOING = 4
_NS_PER_S = 1_000_000_000


class CaptureError(Exception):
    """A capture cannot be read, or is not whole; the text is one line that names the file."""


class Ipv6Frame(NamedTuple):
    """One IPv6 packet at one interface: when (CLOCK_REALTIME, nanoseconds), where, which way, and its octets."""

    t_ns: int
    interface: int
    outgoing: bool
    packet: bytes


def ipv6_frames(path: Path) -> Iterator[Ipv6Frame]:
    """The IPv6 packets that this host sent or took in, in the order of the file. Raises CaptureError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from error
    record = struct.Struct(
        f"{_byte_order(path, data)}IIII"
    )  # seconds, nanoseconds, octets captured, octets on the wire
    end, offset = len(data), _FILE_HEADER_OCTETS
    while offset < end:
        if offset + _RECORD_HEADER_OCTETS > end:
            raise CaptureError(f"{path}: ends inside a record: the capture was cut off")
        seconds, nanoseconds, captured, length = record.unpack_from(data, offset)
        start = offset + _RECORD_HEADER_OCTETS
        offset = start + captured
        if captured != length or offset > end:
            raise CaptureError(f"{path}: a frame is not whole ({captured} of {length} octets)")
        protocol, _, interface, _, packet_type, _ = _SLL2.unpack_from(data, start)
        if protocol == _ETH_P_IPV6 and packet_type != _PACKET_OTHERHOST:
            yield Ipv6Frame(
                seconds * _NS_PER_S + nanoseconds,
                interface,
                packet_type == _PACKET_OUTGOING,
                data[start + _SLL2.size : offset],
            )


def _byte_order(path: Path, data: bytes) -> str:
    if len(data) < _FILE_HEADER_OCTETS:
        raise CaptureError(f"{path}: no capture file header")
    for order in "<>":
        (magic,) = struct.unpack_from(f"{order}I", data)
        if magic == _NANOSECOND_MAGIC:
            (link_type,) = struct.unpack_from(f"{order}I", data, 20)
            if link_type & 0xFFFF != _LINKTYPE_LINUX_SLL2:
                raise CaptureError(f"{path}: link type {link_type & 0xFFFF}, not LINUX_SLL2: capture with -i any")
            return order
    raise CaptureError(f"{path}: not a pcap with nanoseconds: capture with --time-stamp-precision=nano")
