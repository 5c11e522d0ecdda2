"""Sequence numbers and timestamps of a MAG's requests (RFC 5213 section 5.5)."""

from collections.abc import Callable

from common.mh.messages import Timestamp

SEQUENCE_SPACE = 1 << 16


class Numbering:
    """One counter and one clock for all mobile nodes of the MAG; both only rise."""

    def __init__(self, utc: Callable[[float], float], sequence: int) -> None:
        self._utc = utc
        self._sequence = sequence
        self._timestamp = Timestamp(0)

    def sequence(self) -> int:
        self._sequence = (self._sequence + 1) % SEQUENCE_SPACE
        return self._sequence

    def timestamp(self, now: float) -> Timestamp:
        """Later than every one before: two requests of one moment still have an order."""
        self._timestamp = Timestamp(max(Timestamp.from_utc(self._utc(now)), self._timestamp + 1))
        return self._timestamp

    def continue_from(self, sequence: int, timestamp: Timestamp | None) -> None:
        """Go on behind what another MAG said last of an MN: how section 5.5 uses a context transfer."""
        if 0 < (sequence - self._sequence) % SEQUENCE_SPACE < SEQUENCE_SPACE // 2:
            self._sequence = sequence
        if timestamp is not None:
            self._timestamp = max(self._timestamp, timestamp)
