"""Sequence numbers and timestamps of a MAG's requests (RFC 5213 section 5.5)."""

from collections.abc import Callable

from common.mh.messages import Timestamp

SEQUENCE_SPACE = 1 << 16


class Numbering:
    """One counter for all mobile nodes of the MAG, and its clock."""

    def __init__(self, utc: Callable[[float], float], sequence: int) -> None:
        self._utc = utc
        self._sequence = sequence

    def sequence(self) -> int:
        self._sequence = (self._sequence + 1) % SEQUENCE_SPACE
        return self._sequence

    def timestamp(self, now: float, last: Timestamp | None) -> Timestamp:
        """Later than the MN's `last` one: two requests of one moment still have an order."""
        return Timestamp(max(Timestamp.from_utc(self._utc(now)), (last or 0) + 1))

    def continue_from(self, sequence: int) -> None:
        """Go on behind the number that another MAG used last for an MN: how section 5.5 uses a context transfer."""
        if 0 < (sequence - self._sequence) % SEQUENCE_SPACE < SEQUENCE_SPACE // 2:
            self._sequence = sequence
