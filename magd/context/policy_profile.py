"""The policy profile (RFC 5213 section 6.2): with it an nMAG can serve an MN that its own configuration lacks."""

import json
from dataclasses import replace

from common.mh.messages import ContextData, Feature
from magd.binding_update_list import BindingUpdateListEntry


class PolicyProfile:
    def serves(self, feature: int) -> bool:
        return feature == Feature.POLICY_PROFILE

    def export(self, entry: BindingUpdateListEntry) -> list[ContextData]:
        profile = {"mn_ll_id": entry.mn_ll_id.hex() if entry.mn_ll_id else None}
        return [ContextData(Feature.POLICY_PROFILE, json.dumps(profile, separators=(",", ":")).encode())]

    def restore(self, entry: BindingUpdateListEntry, piece: ContextData) -> BindingUpdateListEntry:
        """Raises ValueError for what is no profile."""
        try:
            profile = json.loads(piece.data)
        except RecursionError:
            raise ValueError("not a policy profile") from None
        if not isinstance(profile, dict) or not isinstance(profile.get("mn_ll_id"), str | None):
            raise ValueError("not a policy profile")
        mn_ll_id = profile.get("mn_ll_id")
        # What this MAG's own configuration says of the MN goes before what another one said.
        return replace(entry, mn_ll_id=entry.mn_ll_id or (bytes.fromhex(mn_ll_id) if mn_ll_id else None))
