"""What each session has in the kernel, and how that changes: in an order that loses, doubles and reorders nothing.

What is installed is remembered in `_installed`; `_change` sends the difference to what is wanted.
"""

import errno
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from ipaddress import IPv6Address
from itertools import chain
from struct import pack

from common.actions import Drop, Forward, Forwarding, ToPeer
from common.dataplane import adoption
from common.dataplane.access import AccessLinks
from common.dataplane.adoption import THERE
from common.dataplane.elements import Element
from common.dataplane.forwardings import access_of, key, peers_of, router_of, station_of
from common.dataplane.hold import EXPIRED, HNP_LENGTH, Session
from common.dataplane.keeping import Keeping
from common.dataplane.netlink import RouteSocket
from common.dataplane.paths import Paths, interface_index
from common.dataplane.reconcile import Installed
from common.dataplane.roles import MAG, Role
from common.dataplane.senders import Senders
from common.dataplane.strays import Fate
from common.errors import DataPlaneError
from common.mh.messages import MnId

GONE = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL})


class Sessions:
    """`indexes`: the device index of the tunnel to each peer. `keeping` and `senders` are there from the start on, if
    packets may wait and if links are shared."""

    def __init__(
        self,
        role: Role,
        paths: Paths,
        route_socket: RouteSocket,
        indexes: Mapping[IPv6Address, int],
        neighbours: frozenset[IPv6Address],
    ) -> None:
        self.keeping: Keeping | None = None
        self.senders: Senders | None = None
        self.access: AccessLinks | None = None
        self._role = role
        self._paths = paths
        self._route_socket = route_socket
        self._indexes = indexes
        self._neighbours = neighbours
        self._installed: dict[Session, Forwarding] = {}
        self._names: dict[Session, MnId] = {}
        self._session_of: dict[bytes, Session] = {}  # by the first 64 bits of a prefix
        self._listed: dict[Session, frozenset[Element]] = {}

    def name(self, session: Session) -> str | None:
        return str(self._names[session]) if session in self._names else None

    def apply(self, forward: Forward) -> None:
        """See DataPlane.apply."""
        session, wanted = forward.hnps, forward.forwarding
        for other in {self._session_of.get(key(hnp), session) for hnp in session} - {session}:
            self._change(other, self._installed.get(other), None)  # its prefixes are another session's now
        before = self._installed.get(session)
        self._names[session] = forward.mn_id
        try:
            self._change(session, before, wanted)
        except DataPlaneError:
            try:
                self._change(session, wanted, before)
            except DataPlaneError:
                with suppress(DataPlaneError):  # then nothing can be undone either; the next start removes it
                    self._change(session, wanted, None)
            raise
        finally:
            if session not in self._installed:
                del self._names[session]

    def adopt(self, forwards: Sequence[Forward]) -> tuple[int, set[Installed]]:
        """These are forwarded so, whatever of it is there already: how many elements of sets were strays, and what is
        installed now."""
        wanted = {forward.hnps: forward.forwarding for forward in forwards if forward.forwarding}
        self._names.update((forward.hnps, forward.mn_id) for forward in forwards)
        self._listed.update((session, self._listing(session, forwarding)) for session, forwarding in wanted.items())
        strays = adoption.install(wanted, self._listed, self._paths, self._route_socket, self.keeping)
        for session, forwarding in wanted.items():
            self._remember(session, forwarding)
        if self.senders:
            self.senders.adopt({session: station_of(forwarding) for session, forwarding in wanted.items()})
        if self.keeping:
            adoption.resume(wanted, self.keeping)
        ways = [self._paths.installed(hnp, wanted[session]) for session in wanted for hnp in session]
        return strays, set(chain(*ways))

    def mend(self, changed: Set[IPv6Address]) -> None:
        """The tunnels to these are other devices now: make anew what the kernel has thrown away with the old ones.

        Raises DataPlaneError when it refuses some of it, for instance for an access link that has gone, too.
        """
        refused: list[DataPlaneError] = []
        for session, wanted in self._installed.items():
            if changed & peers_of(wanted):
                try:
                    self._mend(session, wanted)
                except DataPlaneError as error:
                    refused.append(error)
        if refused:
            raise DataPlaneError(f"{len(refused)} sessions could not be mended: {refused[0]}")

    def refill(self) -> None:
        """The sets are empty, for the table was made anew: put into them what is to be there. Raises DataPlaneError."""
        if self.keeping:
            self.keeping.refill(chain(*self._listed.values()))
        if self.senders:
            self.senders.refill()

    def judge(self, prefix: bytes, device: int) -> Fate:
        """What is to become of a stray."""
        forwarding = self._installed.get(self._session_of.get(prefix, ()))
        return (self._judge_early if self._role is MAG else self._judge_returned)(forwarding, device)

    def _mend(self, session: Session, wanted: Forwarding) -> None:
        self._route_socket.request([m for hnp in session for m in self._paths.additions(hnp, None, wanted)], THERE)
        if self.keeping:
            old, listing = self._listed[session], self._listing(session, wanted)
            self.keeping.elements.change(add=list(listing - old), remove=list(old - listing))
            self._listed[session] = listing

    def _change(self, session: Session, before: Forwarding | None, wanted: Forwarding | None) -> None:
        """Gate shut, then path, then strays, then what was held: each ahead of the next. Can be done once more."""
        additions = [m for hnp in session for m in self._paths.additions(hnp, before, wanted)] if wanted else []
        leftovers = [m for hnp in session for m in self._paths.leftovers(hnp, before, wanted)] if before else []
        old, listing = self._listed.get(session, frozenset()), self._listing(session, wanted)
        later = self._shut(session, before, wanted, listing - old)
        self._listed[session] = listing | old
        if self.senders and wanted:
            self.senders.path(session, *station_of(wanted))
        self._route_socket.request(additions, THERE)
        self._remember(session, wanted)
        if keeping := self.keeping:
            keeping.elements.change(add=later)
            keeping.uplink.path(session, access_of(wanted) if wanted and wanted.uplink_to else None)
        self._route_socket.request(leftovers, GONE)
        if keeping:
            lost = wanted is None or isinstance(wanted.downlink, Drop)
            if wanted is None:
                keeping.strays.drop(session, EXPIRED if before and before.held else self._role.stray_reason)
            else:
                closed = before is not None and before.returned_from is not None and wanted.returned_from is None
                keeping.strays.judge_again(session, release=closed and not lost)
            if wanted is None or not wanted.held:
                keeping.pool.release(session, discard=lost)
            keeping.elements.change(remove=list(old - listing))
        self._listed[session] = listing
        if wanted is None:
            del self._listed[session]
            if self.senders:
                self.senders.path(session, None, None)

    def _shut(
        self, session: Session, before: Forwarding | None, wanted: Forwarding | None, listing: frozenset[Element]
    ) -> list[Element]:
        """Begin a hold if one is wanted, and list what can be listed now; the rest when the path is there."""
        if self.keeping is None:
            if wanted and (wanted.held or wanted.uplink_from):
                raise DataPlaneError("this daemon is not configured to hold packets")
            return []
        # Early strays go ahead of what comes when the path is there: that waits a moment.
        is_new = before is None and access_of(wanted) is not None
        if (wanted and wanted.held) or (is_new and self.keeping.pool.has_room()):
            self.keeping.hold(session, list(listing))
        elif is_new:
            return list(listing)
        else:
            self.keeping.elements.change(add=list(listing))
        return []

    def _remember(self, session: Session, wanted: Forwarding | None) -> None:
        if self.access:
            self.access.serve(session, router_of(wanted))
        for hnp in session:
            if wanted:
                self._session_of[key(hnp)] = session
            else:
                self._session_of.pop(key(hnp), None)
        if wanted:
            self._installed[session] = wanted
        else:
            self._installed.pop(session, None)

    def _listing(self, session: Session, wanted: Forwarding | None) -> frozenset[Element]:
        """What the filter is to know of it: at a MAG that it has a path, at an LMA from whom uplink is accepted."""
        if wanted is None or self.keeping is None:
            return frozenset()
        if any(hnp.prefixlen != HNP_LENGTH for hnp in session):
            raise DataPlaneError(
                f"where packets are held, prefixes have {HNP_LENGTH} bits: {', '.join(map(str, session))}"
            )
        keys = [key(hnp) for hnp in session]
        sources = [self._paths.tunnel(peer) for peer in wanted.uplink_from]
        listing = [("downlink_from", self._paths.tunnel(peer)) for peer in wanted.downlink_from]
        if wanted.still_on:
            sources.append(interface_index(wanted.still_on))
        listing += [("uplink_from", device) for device in sources]
        served = [Element("served", key) for key in keys] if self._role is MAG else []
        return frozenset(
            [*served, *(Element(name, pack("=I", device) + key) for name, device in listing for key in keys)]
        )

    def _judge_returned(self, forwarding: Forwarding | None, device: int) -> Fate:
        """What a MAG gave back goes where the MN is now, unless it has left there, or that is this very MAG."""
        match forwarding:
            case Forwarding(downlink=ToPeer(peer), returned_from=giver):
                if giver == peer:
                    return Fate.WAIT
                if self._indexes[peer] != device:
                    return Fate.GO
        return Fate.WAIT_A_WHILE

    def _judge_early(self, forwarding: Forwarding | None, device: int) -> Fate:
        if forwarding is None:
            return Fate.WAIT_A_WHILE
        giver = next((peer for peer in self._neighbours if self._indexes[peer] == device), None)
        if giver and giver not in forwarding.downlink_from:
            return Fate.WAIT_A_WHILE
        return Fate.WAIT if forwarding.held else Fate.GO
