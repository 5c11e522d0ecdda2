"""What `magctl show` can show: each subject a function that returns rows or an object, JSON-ready."""

from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from common.daemon import Shell
from common.snapshot import Sessions
from magd.binding_update_list import BindingUpdateListEntry, State
from magd.config import MagdConfig
from magd.mag import MobileAccessGateway

KEPT = frozenset({State.LEFT, State.AWAITED})


def mobile_nodes(core: MobileAccessGateway) -> Sessions[BindingUpdateListEntry]:
    """As a metric."""
    return Sessions(
        name="mobile_nodes",
        meaning="entries of the binding update list",
        labels=("state",),
        entries=core.binding_update_list.values,
        labels_of=lambda entry: (entry.state.value,),
        every=lambda: ((state.value,) for state in core.scheme.states),
    )


def subjects(
    config: MagdConfig, core: MobileAccessGateway, shell: Shell, clock: Callable[[], float]
) -> dict[str, Callable[[], object]]:
    """Subject name -> what it returns now."""

    def mobile_nodes() -> list[dict[str, object]]:
        now = clock()
        return [
            {
                "mn_id": str(entry.mn_id),
                "state": entry.state.value,
                "interface": entry.interface,
                "hnps": [str(hnp) for hnp in entry.hnps],
                "mn_ll_id": entry.mn_ll_id.hex(":") if entry.mn_ll_id else None,
                "lma": str(entry.lma),
                **({"handover": entry.handover.as_row()} if entry.handover else {}),
                "lifetime_s": entry.lifetime,
                "remaining_s": round(entry.expires - now, 1) if entry.lifetime else None,
            }
            for entry in core.binding_update_list.values()
        ]

    def contexts() -> list[dict[str, object]]:
        now = clock()
        held = {str(row["mn_id"]): row["packets"] for row in shell.data_plane.holds()}
        return [
            {
                "mn_id": str(entry.mn_id),
                "state": entry.state.value,
                "sequence": entry.context_sequence,
                "held_packets": held.get(str(entry.mn_id), 0),
                "parts": [number for number, _ in entry.parts],
                "remaining_s": round(entry.expires - now, 1) if entry.state in KEPT else None,
                "opaque": [
                    f"{piece.feature:#06x} {len(piece.data)} octets sha256 {sha256(piece.data).hexdigest()}"
                    for piece in entry.opaque
                ],
            }
            for entry in core.binding_update_list.values()
            if entry.state in KEPT or entry.parts or entry.opaque
        ]

    def lmas() -> list[dict[str, object]]:
        now, users = clock(), Counter(entry.lma for entry in core.binding_update_list.values())
        return [
            {
                "address": str(lma),
                "mobile_nodes": users[lma],
                "tunnel_mtu": core.sessions.tunnel_mtu.get(lma),
                **core.anchors.heartbeats.row(lma, now),
            }
            for lma in config.lmas
        ]

    return {"mobile-nodes": mobile_nodes, "contexts": contexts, "lmas": lmas, "counters": shell.effects.counters}
