"""Changes that are safe from the end of this process, but not yet where they belong: a log in shared memory of a file.

What is written here is the kernel's as soon as it is written, and no system call is needed: that is what the answer to
a message can wait for. From the end of the machine it is not safe.
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from zlib import crc32

SIZE = 1 << 18
_HEADER = Struct("<IIQ")  # checksum of the rest, length of the payload, number of the entry
_CHECKSUM = Struct("<I")


class Ahead:
    """Numbered entries one behind the other from the start of the file; `rewind` starts over, numbers go on."""

    def __init__(self, path: Path, settled: int, size: int = SIZE) -> None:
        """`settled` is the number of the last entry that need not be kept. Raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)  # a file system that is full says so now, not in the middle
            self._memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._size = size
        self._offset = 0
        self.number = settled

    def entries(self) -> Iterator[bytes]:
        """What an earlier life wrote and did not settle; `number` and the place to go on follow."""
        expected: int | None = None
        while self._offset + _HEADER.size <= self._size:
            checksum, length, number = _HEADER.unpack_from(self._memory, self._offset)
            end = self._offset + _HEADER.size + length
            if not length or end > self._size or expected not in (None, number):
                return
            if crc32(self._memory[self._offset + 4 : end]) != checksum:  # the end came in the middle of this one
                return
            if number > self.number:
                if expected is None and number != self.number + 1:
                    return
                yield self._memory[self._offset + _HEADER.size : end]
                self.number = number
            expected = number + 1
            self._offset = end

    def append(self, payload: bytes) -> bool:
        """False: there is no room for it, and nothing was written."""
        start = self._offset + _HEADER.size
        end = start + len(payload)
        if end > self._size:
            return False
        number = self.number + 1
        self._memory[start:end] = payload
        _HEADER.pack_into(self._memory, self._offset, 0, len(payload), number)
        _CHECKSUM.pack_into(self._memory, self._offset, crc32(self._memory[self._offset + 4 : end]))
        self._offset, self.number = end, number
        return True

    def rewind(self) -> None:
        """Everything so far is settled elsewhere."""
        self._offset = 0

    def close(self) -> None:
        self._memory.close()
