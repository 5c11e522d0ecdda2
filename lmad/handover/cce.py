"""What a Context Cache Entry has beyond the binding that it was (the paper's section 3.2)."""

from dataclasses import dataclass
from ipaddress import IPv6Address
from math import inf

from common.frozen import replace
from common.mh.messages import ContextContinuation, ContextData
from common.records import Moment
from lmad.binding_cache import BindingCacheEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Kept until the old path is closed, by when the entry is a Proxy BCE again.

    `giver` is the MAG that gives back what found the MN gone; `returning`: its end marker has not come. `closing` are
    the MAGs whose revocation is not acknowledged.
    """

    pmag: IPv6Address
    nmag: IPv6Address | None = None
    sequence: int = 0
    lifetime: float = 0.0
    contexts: tuple[ContextData, ...] = ()
    continuations: tuple[ContextContinuation, ...] = ()
    giver: IPv6Address
    returning: bool = True
    closing: frozenset[IPv6Address] = frozenset()
    resend_at: Moment = inf
    retries: int = 0

    @property
    def deadline(self) -> float:
        return self.resend_at

    def describe(self) -> dict[str, object]:
        return {"pmag": str(self.pmag), "nmag": str(self.nmag) if self.nmag else None}

    @property
    def pieces(self) -> tuple[ContextData, ...]:
        """The context as far as it has come."""
        return (*self.contexts, *(piece for part in self.continuations for piece in part.contexts))

    @property
    def lasting(self) -> tuple[ContextContinuation, ...]:
        """The continuations as they follow a CR: for how long a context is good the anchor says, not pMAG."""
        return tuple(replace(part, lifetime=self.lifetime) for part in self.continuations)


def handover_of(bce: BindingCacheEntry | None) -> Handover | None:
    """Of an entry that is, or was until lately, a CCE."""
    return bce.handover if bce and isinstance(bce.handover, Handover) else None
