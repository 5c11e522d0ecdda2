"""Plain RFC 5213: between the de-registration and the new registration the MN's traffic is dropped.

The base of every scheme: what another one does differently it overrides here, and nowhere else.
"""

from dataclasses import replace

from common.actions import Action, Drop, Forwarding, ToPeer
from common.mh.messages import ProxyBindingUpdate
from lmad.binding_cache import BindingCacheEntry, State


class Pmipv6:
    """The anchor's half."""

    def __init__(self, min_delay_before_bce_delete: float) -> None:
        self._min_delay_before_bce_delete = min_delay_before_bce_delete

    def forwarding(self, bce: BindingCacheEntry) -> Forwarding:
        """How the kernel treats the session's packets; a function of the entry alone."""
        return Forwarding(ToPeer(bce.proxy_coa) if bce.state is State.REGISTERED else Drop())

    def deregistered(
        self, bce: BindingCacheEntry, pbu: ProxyBindingUpdate, now: float
    ) -> tuple[BindingCacheEntry, list[Action]]:
        """The entry after a valid de-registration, and what is to be done once its PBA has gone (section 5.3.5)."""
        expires = now + self._min_delay_before_bce_delete
        return replace(bce, state=State.DEREGISTERED, lifetime=0, expires=expires), []

    def registered(self, before: BindingCacheEntry | None, after: BindingCacheEntry, now: float) -> list[Action]:
        """What is to be done once the PBA of a registration has gone."""
        return []
