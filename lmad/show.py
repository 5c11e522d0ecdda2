"""What `lmactl show` can show: each subject a function that returns rows or an object, JSON-ready."""

from collections.abc import Callable

from common.daemon import Shell
from common.snapshot import Sessions
from lmad.binding_cache import BindingCacheEntry, State
from lmad.handover.cce import Handover
from lmad.lma import LocalMobilityAnchor


def bindings(core: LocalMobilityAnchor) -> Sessions[BindingCacheEntry]:
    """As a metric."""
    return Sessions(
        name="bindings",
        meaning="entries of the binding cache",
        labels=("state", "proxy_coa"),
        entries=lambda: core.binding_cache,
        labels_of=lambda bce: (bce.state.value, str(bce.proxy_coa)),
        every=lambda: ((state.value, str(mag)) for mag in core.domain.mags for state in core.scheme.states),
    )


def subjects(core: LocalMobilityAnchor, shell: Shell, clock: Callable[[], float]) -> dict[str, Callable[[], object]]:
    """Subject name -> what it returns now."""

    def bindings() -> list[dict[str, object]]:
        now = clock()
        return [
            {
                "mn_id": str(bce.mn_id),
                "hnps": [str(hnp) for hnp in bce.hnps],
                "proxy_coa": str(bce.proxy_coa),
                "state": bce.state.value,
                "revoking": core.revoking.in_progress(bce),
                "mn_ll_id": bce.mn_ll_id.hex(":") if bce.mn_ll_id else None,
                "access_technology": int(bce.access_technology),
                "lifetime_s": bce.lifetime,
                "remaining_s": round(bce.expires - now, 1),
                "sequence": bce.sequence,
                "handover": bce.handover.describe() if bce.handover else None,
            }
            for bce in core.binding_cache
        ]

    def contexts() -> list[dict[str, object]]:
        now = clock()
        return [
            {
                "mn_id": str(bce.mn_id),
                "hnps": [str(hnp) for hnp in bce.hnps],
                "state": bce.state.value,
                "pmag": str(handover.pmag),
                "nmag": str(handover.nmag) if handover.nmag else None,
                "remaining_s": round(bce.expires - now, 1) if bce.state is State.CONTEXT else None,
                "octets": sum(len(piece.data) for piece in handover.pieces),
                "features": sorted({piece.feature for piece in handover.pieces}),
                "end_marker": not handover.returning,
                "to_be_revoked": [str(mag) for mag in sorted(handover.closing)],
            }
            for bce in core.binding_cache
            if isinstance(handover := bce.handover, Handover)
        ]

    def mags() -> list[dict[str, object]]:
        now, count = clock(), core.binding_cache.count_at
        return [
            {"address": str(mag), "bindings": count(mag), **core.heartbeats.row(mag, now)}
            for mag in sorted(core.domain.mags)
        ]

    return {
        "bindings": bindings,
        "contexts": contexts,
        "holds": shell.data_plane.holds,
        "mags": mags,
        "counters": shell.effects.counters,
    }
