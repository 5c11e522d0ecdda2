"""Plain RFC 5213: between the de-registration and the new registration the MN's traffic is dropped.

The base of every scheme: what another one does differently it overrides here, and nowhere else.
"""

from functools import cache
from ipaddress import IPv6Address
from typing import Any

from common.actions import Action, Drop, Forwarding, ToPeer
from common.frozen import replace
from common.mh.messages import Message, ProxyBindingAck, ProxyBindingUpdate
from common.records import Table
from common.revocation import Revocations
from lmad.binding_cache import BindingCache, BindingCacheEntry, State
from lmad.checks import Refusal
from lmad.config import Lma, LmadConfig
from lmad.revoking import Revoked


class Pmipv6:
    """The anchor's half.

    `holds`: whether it makes packets wait at the anchor. `handover_kind` is the class of what it puts into
    `BindingCacheEntry.handover`. `states` are those that its sessions can be in.
    """

    holds = False
    states = frozenset({State.REGISTERED, State.DEREGISTERED})
    handover_kind: type | None = None

    def __init__(self, config: LmadConfig) -> None:
        self.revocations: Revocations[Revoked] = Revocations(*_of_revocation(config.lma))
        self.follow(config)

    def follow(self, config: LmadConfig) -> None:
        """Go on by another configuration; only what config.RELOADABLE lists may differ."""
        self._min_delay_before_bce_delete = config.lma.min_delay_before_bce_delete
        self.revocations.follow(*_of_revocation(config.lma))

    def tables(self) -> tuple[Table[Any, Any], ...]:
        """What the scheme remembers besides `BindingCacheEntry.handover`."""
        return ()

    def forwarding(self, bce: BindingCacheEntry) -> Forwarding:
        """How the kernel treats the session's packets; a function of the entry alone."""
        return _to(bce.proxy_coa) if bce.state is State.REGISTERED else _NOWHERE

    def deregistered(self, bce: BindingCacheEntry, pbu: ProxyBindingUpdate, now: float) -> BindingCacheEntry | Refusal:
        """The entry after a valid de-registration (section 5.3.5), or a refusal."""
        return self.released(bce, now)

    def late(
        self, bce: BindingCacheEntry, pbu: ProxyBindingUpdate, source: IPv6Address, now: float
    ) -> tuple[BindingCacheEntry | None, list[Action]]:
        """A MAG that does not serve the MN any more has de-registered it; the entry if that changes it, and actions."""
        return None, []

    def released(self, bce: BindingCacheEntry, now: float) -> BindingCacheEntry:
        """The entry when no MAG has it any more: it waits for its deletion, or for the MN (section 5.3.5)."""
        expires = now + self._min_delay_before_bce_delete
        return replace(bce, state=State.DEREGISTERED, lifetime=0, expires=expires, handover=None)

    def holders(self, bce: BindingCacheEntry) -> frozenset[IPv6Address]:
        """The MAGs that may hold something of the session: all of them hear when it is revoked."""
        return frozenset({bce.proxy_coa})

    def registered(self, before: BindingCacheEntry | None, after: BindingCacheEntry, now: float) -> BindingCacheEntry:
        """The entry of a valid registration as the scheme wants it."""
        return after

    def with_less(self, bce: BindingCacheEntry) -> BindingCacheEntry | None:
        """The kernel refused what the entry asks for: one that serves the MN and asks for less; None: there is none."""
        return None

    def acknowledge(
        self, pba: ProxyBindingAck, pbu: ProxyBindingUpdate, before: BindingCacheEntry | None, after: BindingCacheEntry
    ) -> ProxyBindingAck:
        """The answer to a PBU that made `after` of `before`; a scheme may add to it."""
        return pba

    def follow_up(
        self, before: BindingCacheEntry | None, after: BindingCacheEntry, pbu: ProxyBindingUpdate
    ) -> list[Action]:
        """What is to be done once that answer has gone."""
        return []

    def as_update(self, message: Message) -> ProxyBindingUpdate | None:
        """A request of the scheme's own as the PBU that it amounts to: as that it is judged (section 5.3.1)."""
        return None

    def requested(
        self, source: IPv6Address, message: Message, bce: BindingCacheEntry | None, now: float
    ) -> BindingCacheEntry | Refusal | None:
        """The entry after such a request, which has passed the checks; None: it is ignored, without an answer."""
        return None

    def answer(self, pba: ProxyBindingAck, asked: Message | None) -> Message:
        """What goes out as the answer to a request of the scheme's own; None: to a PBU."""
        return pba

    def received(
        self, source: IPv6Address, message: Message, cache: BindingCache, now: float
    ) -> tuple[BindingCacheEntry | None, list[Action]] | None:
        """A message of the scheme's own: the entry that it changes, if any, and actions; None: not one of ours."""
        return None

    def expired(self, bce: BindingCacheEntry, now: float) -> tuple[BindingCacheEntry, list[Action]]:
        """A deadline of the entry's `handover` has come."""
        return replace(bce, handover=None), []


_NOWHERE = Forwarding(Drop())


@cache  # of as many as there are MAGs, and made at every handover
def _to(mag: IPv6Address) -> Forwarding:
    return Forwarding(ToPeer(mag))


def _of_revocation(lma: Lma) -> tuple[int, float, float]:
    """The variables of RFC 5846 section 11."""
    return lma.bri_max_retries_number, lma.init_min_delay_bris, lma.max_brack_timeout
