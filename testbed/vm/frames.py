"""Frames: many conversations over one stream between a host and the agent in its virtual machine.

A frame is `channel (32 bit) | kind (8 bit) | length (32 bit) | payload`, big endian. A channel is one process in the
guest: OPEN starts it, EXIT ends it. Channel 0 belongs to the agent itself, which tells on it how its start goes.
"""

import json
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

_HEADER = struct.Struct("!IBI")
AGENT_CHANNEL = 0


class Kind(IntEnum):
    """What a frame carries; the direction is the only one that makes sense, except for DATA."""

    OPEN = 1  # to the guest, JSON: what to run, see `guest.Agent`
    DATA = 2  # both ways: standard input, standard output, or what comes out of a terminal
    ERROR_OUTPUT = 3  # from the guest: standard error, and whatever a called function prints
    END_OF_INPUT = 4  # to the guest
    RESIZE = 5  # to the guest, JSON: {"rows", "columns"}
    STOP = 6  # to the guest: interrupt the process (hang up if it has a terminal); a second time: kill it
    EXIT = 7  # from the guest, JSON: {"status"}, as a shell counts it; the channel is free again


class Frame(NamedTuple):
    channel: int
    kind: Kind
    payload: bytes

    def encode(self) -> bytes:
        return _HEADER.pack(self.channel, self.kind, len(self.payload)) + self.payload

    def json(self) -> Any:
        return json.loads(self.payload)


def json_frame(channel: int, kind: Kind, value: Any) -> Frame:
    return Frame(channel, kind, json.dumps(value).encode())


class Decoder:
    """Cuts a stream of octets into frames, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            channel, kind, length = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield Frame(channel, Kind(kind), payload)
