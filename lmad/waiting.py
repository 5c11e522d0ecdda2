"""Requests that wait for the word of another MAG (RFC 5213 sections 5.4.1.2 point 4 and 5.4.1.3 point 3).

A PBU that may be a handoff of the MN's only session, or a new session beside it, is put off until the session has been
de-registered or revoked at its old MAG, or until the wait is over.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from math import inf

from common.deadlines import Deadlines
from common.mh.messages import MnId
from lmad.checks import Request

# An MN's interface at a MAG: what asks again while it waits asks for the same.
Interface = tuple[MnId | None, IPv6Address, int | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Parked:
    """`until`: when the wait is over and the request is one for a new session; `since` when it began."""

    request: Request
    since: float
    until: float


class Waiting:
    """All requests that wait, one for each interface."""

    def __init__(self, max_delay: float) -> None:
        self.max_delay = max_delay
        self._parked: dict[Interface, Parked] = {}
        self._of_mn: dict[MnId, dict[Interface, None]] = {}
        self._deadlines: Deadlines[Interface] = Deadlines()

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, request: Request, now: float, asked: bool) -> bool:
        """Put it off; with `asked` until the old MAG has answered. False: it is a repetition of one that waits."""
        interface = _interface(request)
        known = self._parked.get(interface)
        if known:
            if (request.pbu.timestamp or 0) >= (known.request.pbu.timestamp or 0):
                self._parked[interface] = replace(known, request=request)
            return False
        self._put(interface, Parked(request, now, inf if asked else now + self.max_delay))
        return True

    def park_again(self, parked: Parked) -> None:
        """Its moment came and decided nothing."""
        self._put(_interface(parked.request), parked)

    def withdraw(self, request: Request) -> None:
        """The MN has left the MAG that asked."""
        self._drop(_interface(request))

    def ripen(self, mn_id: MnId) -> None:
        """Something has become of a session of the MN: what waits is looked at again, at once."""
        for interface in self._of_mn.get(mn_id, ()):
            self._deadlines.set(interface, -inf)

    def deny(self, mn_id: MnId, now: float) -> None:
        """The MN's session will not be given up: what waits gets a new one."""
        self._change(mn_id, lambda _: now)

    def fall_back(self, mn_id: MnId) -> None:
        """The old MAG cannot be asked: its de-registration is waited for."""
        self._change(mn_id, lambda parked: parked.since + self.max_delay)

    def deadline(self) -> float:
        return self._deadlines.next()

    def due(self, now: float) -> Parked | None:
        """One that is to be looked at now; it waits no more."""
        interface = self._deadlines.due(now)
        return None if interface is None else self._drop(interface)

    def _change(self, mn_id: MnId, until: Callable[[Parked], float]) -> None:
        for interface in list(self._of_mn.get(mn_id, ())):
            parked = self._parked[interface]
            self._put(interface, replace(parked, until=until(parked)))

    def _put(self, interface: Interface, parked: Parked) -> None:
        mn_id = parked.request.pbu.mn_id
        assert mn_id is not None
        self._parked[interface] = parked
        self._of_mn.setdefault(mn_id, {})[interface] = None
        self._deadlines.set(interface, parked.until)

    def _drop(self, interface: Interface) -> Parked | None:
        parked = self._parked.pop(interface, None)
        if parked:
            self._deadlines.discard(interface)
            mn_id = parked.request.pbu.mn_id
            assert mn_id is not None
            of_mn = self._of_mn[mn_id]
            del of_mn[interface]
            if not of_mn:
                del self._of_mn[mn_id]
        return parked


def _interface(request: Request) -> Interface:
    pbu = request.pbu
    return pbu.mn_id, request.coa, pbu.access_technology, pbu.mn_ll_id
