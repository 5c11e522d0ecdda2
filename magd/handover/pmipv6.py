"""Plain RFC 5213: the gateway de-registers the MN that left and registers the one that came.

The base of every scheme: what another one does differently it overrides here, and nowhere else.
"""

from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

from common.actions import Action, Forwarding, ToAccess
from common.mh.messages import FastProxyBindingUpdate, Message, ProxyBindingAck, ProxyBindingUpdate
from common.records import Table
from magd.binding_update_list import SERVED, BindingUpdateListEntry, State, unserved
from magd.config import MagdConfig
from magd.numbering import Numbering
from magd.steps import Removal, Step


class Pmipv6:
    """The gateway's half.

    `predictive`: whether it has a use for the word that an MN is about to leave. Whether packets wait here: of the
    downlink `hold_packets`, of the uplink with `keeps_uplink` what is sent before there is a path. `gives_back`:
    whether the kernel is to send back what finds the MN gone. `peers`: the MAGs that we hear.
    `handover_kind` is the class of what it puts into `BindingUpdateListEntry.handover`. `states` are those that its
    entries can stay in.
    """

    predictive = False
    keeps_uplink = False
    gives_back = False
    peers: frozenset[IPv6Address] = frozenset()
    states = SERVED | {State.REGISTERING, State.DEREGISTERING, State.REFUSED}
    handover_kind: type | None = None

    def __init__(self, config: MagdConfig, numbering: Numbering) -> None:
        self.numbering = numbering
        self.follow(config)

    def follow(self, config: MagdConfig) -> None:
        """Go on by another configuration; only what config.RELOADABLE lists may differ."""

    @staticmethod
    def hold_packets(config: MagdConfig) -> int | None:
        """How many packets may wait for one MN; None: none ever does."""
        return None

    @staticmethod
    def tunnels(config: MagdConfig) -> tuple[IPv6Address, ...]:
        """The MAGs that packets are exchanged with."""
        return ()

    def tables(self) -> tuple[Table[Any, Any], ...]:
        """What the scheme remembers besides the entries."""
        return ()

    def forwarding(self, entry: BindingUpdateListEntry) -> Forwarding | None:
        """How the kernel treats the MN's packets; a function of the entry alone.

        An MN that left keeps its path until the LMA has answered: what it sent last may still be on its way up.
        """
        if entry.hnps and (entry.state in SERVED or entry.state is State.DEREGISTERING):
            return Forwarding(ToAccess(entry.interface, entry.mac, entry.link_local), uplink_to=entry.lma)
        return None

    def announced(self, entry: BindingUpdateListEntry, nmag: IPv6Address | None) -> BindingUpdateListEntry | None:
        """The entry of an MN that is still served and about to leave, for that MAG if it is known.

        None: nothing is done before it has left.
        """
        if not self.predictive:
            return None
        return replace(unserved(entry, State.DEREGISTERING), lifetime=entry.lifetime, nmag=nmag)

    def request(
        self, entry: BindingUpdateListEntry, pbu: ProxyBindingUpdate
    ) -> tuple[ProxyBindingUpdate | FastProxyBindingUpdate, list[Action]]:
        """A PBU that is about to go out, and what goes right behind it; a scheme may add to both, or replace it."""
        return pbu, []

    def prepared(self, entry: BindingUpdateListEntry, nmag: IPv6Address | None, now: float) -> list[Step] | None:
        """What is settled with the MAG that an MN is about to leave for; None: see `announced`."""
        return None

    def left(self, entry: BindingUpdateListEntry, now: float) -> list[Step] | None:
        """The MN has left; None: it is de-registered."""
        return None

    def arrived(
        self,
        entry: BindingUpdateListEntry | None,
        new: BindingUpdateListEntry,
        previous_mag: IPv6Address | None,
        now: float,
    ) -> list[Step] | None:
        """An MN came, to be registered as `new`; None: what `resumed` says, or a plain registration."""
        return None

    def resumed(self, entry: BindingUpdateListEntry) -> BindingUpdateListEntry | None:
        """An MN came of which there is this entry: what is still good of it, or None."""
        return None

    def heard(self, pba: ProxyBindingAck, entry: BindingUpdateListEntry | None) -> list[Step]:
        """What any answer of the LMA about the entry's MN calls for, be it still waited for or not."""
        return []

    def registered(self, entry: BindingUpdateListEntry, pba: ProxyBindingAck) -> BindingUpdateListEntry:
        """The entry that the LMA has accepted."""
        return entry

    def deregistered(self, entry: BindingUpdateListEntry, pba: ProxyBindingAck | None, now: float) -> list[Step]:
        """What follows the answer to a de-registration; None: it has not come in time (section 6.9.1.4)."""
        return [Removal(entry)]

    def revoked(self, entry: BindingUpdateListEntry, moved: bool) -> list[Step] | None:
        """The LMA revokes the session (RFC 5846 section 9.1), if `moved` because the MN is thought to be elsewhere.

        None: it is not, it is here. What waits for an MN that will not come goes back.
        """
        if entry.state is State.AWAITED:
            return [replace(entry, state=State.LEFT), Removal(entry)]
        if entry.state in (State.DEREGISTERING, State.LEFT):
            return [Removal(entry)]
        if moved:
            return None
        return [replace(unserved(entry, State.REFUSED), restored=False), *self.refused(entry.interface)]

    def received(
        self, source: IPv6Address, message: Message, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step] | None:
        """A message of the scheme's own about an MN; None: not one of ours."""
        return None

    def unprepared(self, entry: BindingUpdateListEntry) -> list[Action]:
        """The kernel refused the path of an MN that is not here yet; its entry is removed."""
        return []

    def expired(self, entry: BindingUpdateListEntry, now: float) -> list[Step]:
        """The deadline of the entry's `handover` has come."""
        return []

    def refused(self, interface: str) -> list[Action]:
        """The MN on this access link gets no service."""
        return []

    def idle(self, interface: str) -> list[Action]:
        """Nobody is on this access link any more."""
        return []
