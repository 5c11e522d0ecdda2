"""Plain RFC 5213: the gateway de-registers the MN that left and registers the one that came.

The base of every scheme: what another one does differently it overrides here, and nowhere else.
"""

from common.actions import Forwarding, ToAccess
from common.mh.messages import ProxyBindingUpdate
from magd.binding_update_list import SERVED, BindingUpdateListEntry, State


class Pmipv6:
    """The gateway's half."""

    def forwarding(self, entry: BindingUpdateListEntry) -> Forwarding | None:
        """How the kernel treats the MN's packets; a function of the entry alone.

        An MN that left keeps its path until the LMA has answered: what it sent last may still be on its way up.
        """
        if entry.hnps and (entry.state in SERVED or entry.state is State.DEREGISTERING):
            return Forwarding(ToAccess(entry.interface, entry.mn_ll_id), uplink_to=entry.lma)
        return None

    def deregistration(self, entry: BindingUpdateListEntry, pbu: ProxyBindingUpdate) -> ProxyBindingUpdate:
        """The de-registration PBU that goes out for an MN that left; a scheme may add to it."""
        return pbu
