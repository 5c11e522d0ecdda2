"""Binding Revocation Indications that wait for their acknowledgement (RFC 5846 sections 6.1 to 6.3); pure.

A subject is what the revoking core wants back when the answer has come, or when none will.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from math import inf
from typing import Generic, TypeVar

from common.actions import Send
from common.deadlines import Deadlines
from common.mh.messages import (
    BindingRevocationAck,
    BindingRevocationIndication,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
)

SEQUENCE_SPACE = 1 << 16
FIRST_GLOBAL_TRIGGER = 128
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding(Generic[T]):
    """A BRI without an answer, sent first at `begun`; the next `timeout` in seconds."""

    peer: IPv6Address
    indication: BindingRevocationIndication
    subject: T
    timeout: float
    begun: float
    retries: int = 0


class Revocations(Generic[T]):
    """All that are outstanding, by sequence number. Variables as in section 11, delays in seconds."""

    def __init__(self, max_retries: int, initial_delay: float, max_timeout: float) -> None:
        self.follow(max_retries, initial_delay, max_timeout)
        self._sequence = 0
        self._outstanding: dict[int, Outstanding[T]] = {}
        self._given_up: list[Outstanding[T]] = []
        self._deadlines: Deadlines[int] = Deadlines()

    def follow(self, max_retries: int, initial_delay: float, max_timeout: float) -> None:
        """Go on by other variables; what was sent already waits as long as it was to."""
        self.max_retries = max_retries
        self.initial_delay = initial_delay
        self._max_timeout = max_timeout

    def __len__(self) -> int:
        return len(self._outstanding)

    def number(self) -> int:
        """The sequence number of a new BRI: none that is outstanding has it (section 5.1).

        When there are as many as there are numbers, the oldest is given up for it, as if it had no answer.
        """
        if len(self._outstanding) == SEQUENCE_SPACE:
            self._given_up.append(self._answered(next(iter(self._outstanding))))
        self._sequence = (self._sequence + 1) % SEQUENCE_SPACE
        while self._sequence in self._outstanding:
            self._sequence = (self._sequence + 1) % SEQUENCE_SPACE
        return self._sequence

    def begin(self, peer: IPv6Address, indication: BindingRevocationIndication, subject: T, now: float) -> Send:
        """Send it under a number of its own, and again until there is an answer."""
        numbered = replace(indication, sequence=self.number())
        first = Outstanding(peer=peer, indication=numbered, subject=subject, timeout=self.initial_delay, begun=now)
        self._wait(first, now)
        return Send(peer, numbered)

    def acknowledged(self, source: IPv6Address, bra: BindingRevocationAck) -> Outstanding[T] | None:
        """What this answers; None: nothing, it is to be ignored (section 6.2.2)."""
        found = self._outstanding.get(bra.sequence)
        if found is None or found.peer != source:
            return None
        return self._answered(bra.sequence)

    def not_recognized(self, peer: IPv6Address) -> list[Outstanding[T]]:
        """The peer does not know the message (a Binding Error of status 2): no answer will come to these."""
        return [self._answered(number) for number, each in list(self._outstanding.items()) if each.peer == peer]

    def delay(self, retries: int) -> float:
        """Seconds to wait for the answer after so many retransmissions (section 6.3)."""
        longest = max(self._max_timeout, self.initial_delay)
        return min(self.initial_delay * float(1 << min(retries, 16)), longest)  # a CR may be repeated very often

    def deadline(self) -> float:
        return -inf if self._given_up else self._deadlines.next()

    def expire(self, now: float) -> Iterator[Send | Outstanding[T]]:
        """What is sent once more, and what will have no answer any more."""
        while self._given_up:
            yield self._given_up.pop()
        while (number := self._deadlines.due(now)) is not None:
            known = self._outstanding[number]
            if known.retries >= self.max_retries:
                del self._outstanding[number]
                yield known
                continue
            retries = known.retries + 1
            self._wait(replace(known, timeout=self.delay(retries), retries=retries), now)
            yield Send(known.peer, known.indication)

    def _wait(self, outstanding: Outstanding[T], now: float) -> None:
        number = outstanding.indication.sequence
        self._outstanding[number] = outstanding
        self._deadlines.set(number, now + outstanding.timeout)

    def _answered(self, number: int) -> Outstanding[T]:
        self._deadlines.discard(number)
        return self._outstanding.pop(number)


def unsupported(bri: BindingRevocationIndication) -> RevocationStatus | None:
    """Why an indication cannot be meant for a daemon of this program, whatever sessions there are (section 6.2.1)."""
    if bri.trigger not in RevocationTrigger.__members__.values():
        return RevocationStatus.TRIGGER_NOT_SUPPORTED
    if (bri.trigger >= FIRST_GLOBAL_TRIGGER) != bool(bri.flags & RevocationFlag.GLOBAL):
        return RevocationStatus.FUNCTION_NOT_SUPPORTED
    if bri.flags & RevocationFlag.IPV4_HOA_ONLY:  # nobody here has an IPv4 home address
        return RevocationStatus.FUNCTION_NOT_SUPPORTED
    if not bri.flags & RevocationFlag.PROXY:  # every binding here is a proxy's
        return RevocationStatus.BINDING_DOES_NOT_EXIST
    return None
