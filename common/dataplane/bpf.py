"""Classic BPF on sockets: what a program does not let through never reaches the socket."""

import ctypes
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv6Address

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
LOAD_WORD, LOAD_HALF, LOAD_OCTET, JUMP_EQUAL, RETURN = 0x20, 0x28, 0x30, 0x15, 0x06
MARK = 0xFFFFF000 + 20  # SKF_AD_OFF + SKF_AD_MARK: where a program finds the packet's mark
IPV6_SOURCE = 0xFFF00000 + 8  # SKF_NET_OFF, and where in an IPv6 header the source is
ALL = 0xFFFFFFFF  # octets
Instruction = tuple[int, int, int, int]  # code, jumps if true and if false, operand

NOTHING: Sequence[Instruction] = ((RETURN, 0, 0, 0),)


def marked(mark: int) -> Sequence[Instruction]:
    """What bears this mark, and nothing else."""
    return (LOAD_WORD, 0, 0, MARK), (JUMP_EQUAL, 0, 1, mark), (RETURN, 0, 0, ALL), (RETURN, 0, 0, 0)


def netlink(kind: int) -> Sequence[Instruction]:
    """Messages of this type, and nothing else; for netlink sockets. BPF loads in network order, netlink writes in the
    machine's."""
    return (LOAD_HALF, 0, 0, 4), (JUMP_EQUAL, 0, 1, socket.htons(kind)), (RETURN, 0, 0, ALL), (RETURN, 0, 0, 0)


def from_source(address: IPv6Address) -> Sequence[Instruction]:
    """What this address has sent, and nothing else; for sockets that get IPv6 packets."""
    words = struct.unpack("!4I", address.packed)
    loads = [(LOAD_WORD, 0, 0, IPV6_SOURCE + 4 * number) for number in range(4)]
    to_the_end = range(7, 0, -2)  # instructions that a comparison which fails skips
    compared = [(JUMP_EQUAL, 0, away, word) for away, word in zip(to_the_end, words, strict=True)]
    each = (line for pair in zip(loads, compared, strict=True) for line in pair)
    return *each, (RETURN, 0, 0, ALL), (RETURN, 0, 0, 0)


def attach(to: socket.socket, program: Sequence[Instruction]) -> None:
    """In place of the one before, if there was one."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    to.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def detach(of: socket.socket) -> None:
    of.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
