"""Proxy Binding Updates: what is in them (RFC 5213 sections 6.9.1.1 and 6.9.1.5), and how often they go out.

MAX_UPDATE_RATE (RFC 6275 sections 11.8 and 12) holds for each mobility session, however often its MN comes and goes.
"""

from collections import deque
from dataclasses import replace
from typing import TypeVar

from common.mh.messages import (
    ALL_ZERO_ADDRESS,
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    FastProxyBindingUpdate,
    HandoffIndicator,
    MnId,
    ProxyBindingUpdate,
)
from magd.binding_update_list import (
    INITIAL_BINDACK_TIMEOUT,
    MAX_BINDACK_TIMEOUT,
    BindingUpdateListEntry,
    Outstanding,
)
from magd.config import MagdConfig
from magd.numbering import SEQUENCE_SPACE, Numbering
from magd.profiles import Profiles

T = TypeVar("T", bound=ProxyBindingUpdate | FastProxyBindingUpdate)
MAX_UPDATE_RATE = 3  # in a second
FORGET_ABOVE = 256  # sessions whose last requests are remembered, before the old ones are looked for


class Pace:
    """When a session's next request may go out."""

    def __init__(self) -> None:
        self._sent: dict[tuple[MnId, bytes | None], deque[float]] = {}
        self._forget_above = FORGET_ABOVE

    def earliest(self, entry: BindingUpdateListEntry, now: float) -> float:
        """Now, or when the third request before it is a second old."""
        sent = self._sent.get((entry.mn_id, entry.mn_ll_id))
        return max(now, sent[0] + 1.0) if sent and len(sent) == MAX_UPDATE_RATE else now

    def sent(self, entry: BindingUpdateListEntry, now: float) -> None:
        moments = self._sent.setdefault((entry.mn_id, entry.mn_ll_id), deque(maxlen=MAX_UPDATE_RATE))
        moments.append(now)
        if len(self._sent) > self._forget_above:
            self._sent = {key: moments for key, moments in self._sent.items() if moments[-1] > now - 1.0}
            self._forget_above = max(FORGET_ABOVE, 2 * len(self._sent))


class Requests:
    """Makes the requests of all entries; with TimestampBasedApproachInUse they are ordered by time."""

    def __init__(self, config: MagdConfig, profiles: Profiles, numbering: Numbering) -> None:
        self.pace = Pace()
        self._profiles = profiles
        self._numbering = numbering
        self._asks_link_local = config.router.link_local is None
        self._access_technology = AccessTechnologyType(config.mag.access_technology)

    def make(
        self, entry: BindingUpdateListEntry, lifetime: int, handoff: HandoffIndicator, now: float
    ) -> ProxyBindingUpdate:
        """Section 6.9.1.1; with a fixed link-local address there is no Link-local Address option.

        Without, the LMA is asked for the address that the MN's router has, wherever the MN is, or told of it.

        Prefixes: those it has, else those that its profile asks for, else whatever the LMA will assign.
        """
        profile = self._profiles.of(entry.mn_id, ll_id=entry.mn_ll_id, interface=entry.interface)
        wanted = profile.home_network_prefixes if profile and not entry.prefixes_refused else ()
        pbu = ProxyBindingUpdate(
            sequence=0,
            lifetime=lifetime,
            mn_id=entry.mn_id,
            hnps=entry.hnps or wanted or (ALL_ZERO_PREFIX,),
            handoff_indicator=handoff,
            access_technology=profile.access_technology if profile else self._access_technology,
            mn_ll_id=entry.mn_ll_id,
            link_local=(entry.link_local or ALL_ZERO_ADDRESS) if self._asks_link_local else None,
        )
        return self._numbered(entry, pbu, now)

    def again(self, entry: BindingUpdateListEntry, outstanding: Outstanding, now: float) -> Outstanding:
        """Section 6.9.4: the same request with a new sequence number and timestamp, the timeout doubled."""
        timeout = min(max(outstanding.timeout * 2, INITIAL_BINDACK_TIMEOUT), MAX_BINDACK_TIMEOUT)
        return Outstanding(pbu=self._numbered(entry, outstanding.pbu, now), sent=now, timeout=timeout)

    def _numbered(self, entry: BindingUpdateListEntry, pbu: T, now: float) -> T:
        timestamp = self._numbering.timestamp(now, entry.timestamp)
        if timestamp is None and entry.sequence is not None:  # section 5.5: then each session counts for itself
            return replace(pbu, sequence=(entry.sequence + 1) % SEQUENCE_SPACE)
        return replace(pbu, sequence=self._numbering.sequence(), timestamp=timestamp)
