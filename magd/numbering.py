"""Sequence numbers and timestamps of a MAG's requests (RFC 5213 section 5.5)."""

from collections.abc import Callable

from common.mh.messages import Timestamp

SEQUENCE_SPACE = 1 << 16
SET_BACK = 1.0  # seconds; the clocks of two MAGs differ by less, or one of them is not served at all


class Numbering:
    """One counter for all mobile nodes of the MAG, and its clock; without `timestamps` the number alone orders."""

    def __init__(self, utc: Callable[[float], float], sequence: int, timestamps: bool = True) -> None:
        self._utc = utc
        self.timestamps = timestamps
        self._sequence = sequence

    @property
    def last(self) -> int:
        return self._sequence

    def sequence(self) -> int:
        self._sequence = (self._sequence + 1) % SEQUENCE_SPACE
        return self._sequence

    def timestamp(self, now: float, last: Timestamp | None) -> Timestamp | None:
        """Later than the MN's `last` one: two requests of one moment still have an order.

        Unless the clock was set back since: no LMA takes what is far from its own.
        """
        if not self.timestamps:
            return None
        own = Timestamp.from_utc(self._utc(now))
        return own if last is None or last.utc > own.utc + SET_BACK else Timestamp(max(own, last + 1))

    def continue_from(self, sequence: int) -> None:
        """Go on behind the number that another MAG used last for an MN: how section 5.5 uses a context transfer."""
        if 0 < (sequence - self._sequence) % SEQUENCE_SPACE < SEQUENCE_SPACE // 2:
            self._sequence = sequence
