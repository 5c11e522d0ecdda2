"""The policy profile (RFC 5213 section 6.2): with it an nMAG can serve an MN that its own configuration lacks.

The address of the MN's router is in it, too, where gateways have none in common (section 9.3).
"""

import json
from dataclasses import replace
from ipaddress import IPv6Address

from common.mh.messages import ContextData, Feature
from magd.binding_update_list import BindingUpdateListEntry

_LL_ID_OCTETS = 253  # what the option of RFC 5213 section 8.6 has room for


class PolicyProfile:
    def serves(self, feature: int) -> bool:
        return feature == Feature.POLICY_PROFILE

    def export(self, entry: BindingUpdateListEntry) -> list[ContextData]:
        profile = {"mn_ll_id": entry.mn_ll_id.hex() if entry.mn_ll_id else None}
        if entry.link_local:  # where it is fixed nobody need be told
            profile["link_local"] = str(entry.link_local)
        return [ContextData(Feature.POLICY_PROFILE, json.dumps(profile, separators=(",", ":")).encode())]

    def restore(self, entry: BindingUpdateListEntry, piece: ContextData) -> BindingUpdateListEntry:
        """Raises ValueError for what is no profile."""
        try:
            profile = json.loads(piece.data)
        except RecursionError:
            raise ValueError("not a policy profile") from None
        known = profile if isinstance(profile, dict) else {"mn_ll_id": 0}
        mn_ll_id, link_local = known.get("mn_ll_id"), known.get("link_local")
        if not isinstance(mn_ll_id, str | None) or not isinstance(link_local, str | None):
            raise ValueError("not a policy profile")
        router = IPv6Address(link_local) if link_local else None
        if router and (not router.is_link_local or router.scope_id):
            raise ValueError("not a link-local address")
        ll_id = bytes.fromhex(mn_ll_id) if mn_ll_id else None
        if ll_id and len(ll_id) > _LL_ID_OCTETS:
            raise ValueError(f"a link-layer identifier of {len(ll_id)} octets")
        # What this MAG's own configuration says of the MN goes before what another one said.
        return replace(entry, mn_ll_id=entry.mn_ll_id or ll_id, link_local=router or entry.link_local)
