"""The Linux data plane: ip6tnl tunnels, routes, source rules, the packet filter, packets that wait.

What a session has installed is remembered in `_sessions`; `_change` sends the difference, in an order that loses,
doubles and reorders nothing. Tunnels, routes and the table carry the role's marks: at start whatever bears them and is
not wanted goes, and nothing else is ever touched.
"""

import errno
import time
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from itertools import chain
from pathlib import Path
from struct import pack

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from common.actions import Drop, Forward, Forwarding, ToPeer
from common.dataplane import adoption, reconcile, routes, tunnels
from common.dataplane.access import AccessLinks, Before
from common.dataplane.adoption import THERE
from common.dataplane.elements import Element
from common.dataplane.filter import Filter, lma_rules, mag_rules
from common.dataplane.forwardings import access_of, key, peers_of, station_of
from common.dataplane.guard import Guard
from common.dataplane.hold import EXPIRED, HNP_LENGTH, Session
from common.dataplane.keeping import Keep, Keeping, Watch
from common.dataplane.netlink import RouteSocket
from common.dataplane.paths import Paths, interface_index
from common.dataplane.peers import PeerTunnels
from common.dataplane.reconcile import EVERYTHING, Route, Rule
from common.dataplane.senders import Senders
from common.dataplane.strays import Fate
from common.dataplane.tunnels import device_name
from common.errors import DataPlaneError
from common.mh.messages import MnId

GONE = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL})
FORWARDING = Path("/proc/sys/net/ipv6/conf/all/forwarding")


@dataclass(frozen=True, slots=True)
class Role:
    """The marks of one daemon: what bears them is its own. Its packet queues count from `first_queue`."""

    name: str
    device_prefix: str
    protocol: int
    first_queue: int
    stray_reason: str


LMA = Role("lmad", "pml", 213, 0x4000, "returned-without-context")
MAG = Role("magd", "pmg", 214, 0x9000, "downlink-without-binding")


class LinuxDataPlane:
    """DataPlane on netlink and nftables; `pools` are attracted, `access_interfaces` are the MAG's.

    Without `keep` no packet ever waits, and what would make one wait is refused. `guard` is what is not let in. With
    `local_routing` MNs of one MAG talk directly (RFC 5213 section 6.10.3). `neighbours` are other MAGs: from the
    tunnels to them comes only what a Forwarding says.
    """

    def __init__(
        self,
        role: Role,
        *,
        pools: Iterable[IPv6Network] = (),
        access_interfaces: tuple[str, ...] = (),
        keep: Keep | None = None,
        guard: Guard | None = None,
        local_routing: bool = False,
        inherited: Mapping[str, int] | None = None,
        links: MutableMapping[str, Before] | None = None,
        neighbours: Iterable[IPv6Address] = (),
    ) -> None:
        self._role = role
        self._pools = tuple(pools)
        self._access_interfaces = access_interfaces
        self._keep = keep
        self._guard = guard
        self._local_routing = local_routing
        self._senders: Senders | None = None
        self._inherited = inherited or {}
        self._links = links
        self._gives_back = keep is not None and keep.give_back
        self._neighbours = frozenset(neighbours)
        self._keeping: Keeping | None = None
        self._sessions: dict[Session, Forwarding] = {}
        self._names: dict[Session, MnId] = {}
        self._session_of: dict[bytes, Session] = {}  # by the first 64 bits of a prefix
        self._listed: dict[Session, frozenset[Element]] = {}
        self._peers = PeerTunnels(role.device_prefix, role.protocol)
        self._paths = Paths(role.protocol, self._peers.indexes, self._peers.tables, local_routing=local_routing)
        self._table = f"context_reflector_{role.name}"
        self._filter = Filter(self._table)
        self._route_socket = RouteSocket()
        self._access: AccessLinks | None = None
        self._ipr = IPRoute()

    def start(self, local: IPv6Address, peers: Iterable[IPv6Address], sessions: Sequence[Forward] = ()) -> int:
        """See DataPlane.start; also takes the access interfaces and attracts the pools."""
        if FORWARDING.read_text().strip() != "1":
            raise DataPlaneError("this node does not forward IPv6; set it: sysctl -w net.ipv6.conf.all.forwarding=1")
        try:
            routes.prepare(self._role.protocol)
            rules = self._rules(local, self._keep)
            if not (is_filtered := self._filter.has(rules)):
                self._filter.install(self._rules(local, None))  # nothing must lead to queues that are about to be made
            self._peers.prepare(self._ipr, local, [*peers, *self._neighbours])
            if self._access_interfaces:
                self._access = AccessLinks(
                    self._ipr, self._access_interfaces, give_back=self._gives_back, memory=self._links
                )
                self._peers.prepare_tables(self._ipr)
            if self._local_routing:
                self._peers.prepare_local_routing(self._ipr, self._access_interfaces)
        except NetlinkError as error:
            raise DataPlaneError(f"the kernel refused a tunnel or route: {error}{_hint(error)}") from error
        self._route_socket.request([routes.attract(self._role.protocol, pool) for pool in self._pools])
        if self._keep:
            access = {name: interface_index(name) for name in self._access_interfaces}
            judge = self._judge_early if self._role is MAG else self._judge_returned
            self._keeping = Keeping(
                self._table,
                self._keep,
                first=self._role.first_queue,
                access=access,
                judge=judge,
                stray_reason=self._role.stray_reason,
                inherited=self._inherited,
            )
            self._keeping.prepare()
        if not is_filtered:
            self._filter.install(rules)
        elif self._guard:
            self._filter.set_peers(self._guard.peers)  # since these rules were made it may have followed another file
        if self._guard and self._guard.shared:
            self._senders = Senders(self._table, {name: interface_index(name) for name in self._guard.shared})
        return self._go_on(sessions)

    def reach(self, peers: Iterable[IPv6Address]) -> None:
        """Have a tunnel to each of these, too, and let these and nobody else signal.

        A tunnel that nobody wants any more goes at the next start. Raises DataPlaneError.
        """
        peers = tuple(peers)
        self._peers.reach(peers)
        if self._guard:
            self._filter.set_peers(peers)

    def tunnel_device(self, peer: IPv6Address) -> str:
        """The name of the tunnel to a peer."""
        return self._peers.device(peer)

    def apply(self, forward: Forward) -> None:
        """See DataPlane.apply."""
        session, wanted = forward.hnps, forward.forwarding
        for other in {self._session_of.get(key(hnp), session) for hnp in session} - {session}:
            self._change(other, self._sessions.get(other), None)  # its prefixes are another session's now
        before = self._sessions.get(session)
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
            if session not in self._sessions:
                del self._names[session]

    def hold_uplink(self, interface: str, keep: bool) -> None:
        """See DataPlane.hold_uplink."""
        if self._keeping:
            self._keeping.uplink.keep(interface, keep)

    def sockets(self) -> list[Watch]:
        return [(self._peers.socket, self._mend), *(self._keeping.sockets() if self._keeping else [])]

    def deadline(self) -> float | None:
        return self._keeping.deadline() if self._keeping else None

    def expire(self, now: float) -> None:
        if self._keeping:
            self._keeping.expire(now)

    def holds(self) -> list[dict[str, object]]:
        """See DataPlane.holds."""
        if not self._keeping:
            return []
        strays = self._keeping.strays
        return [
            {
                "mn_id": str(self._names[session]) if session in self._names else None,
                "hnps": [str(hnp) for hnp in session],
                **row,
                "ahead": strays.waiting(session),
            }
            for session, row in self._keeping.pool.rows(time.monotonic()).items()
        ]

    def drops(self) -> dict[str, int]:
        drops = self._filter.drops()
        for reason, count in (self._keeping.drops() if self._keeping else {}).items():
            drops[reason] = drops.get(reason, 0) + count
        return drops

    def close(self, *, keep: bool = False) -> None:
        """See DataPlane.close; what a crash in between would leave, the next start removes."""
        if not keep:
            self._filter.remove()
        if self._keeping:
            self._keeping.end()
        if not keep:
            self._remove()
        if self._senders:
            self._senders.close()
        self._peers.close()
        self._route_socket.close()
        self._ipr.close()

    def descriptors(self) -> dict[str, int]:
        """See DataPlane.descriptors."""
        return self._keeping.descriptors() if self._keeping else {}

    def _go_on(self, sessions: Sequence[Forward]) -> int:
        """The sessions are forwarded so, whatever of it is there already; returns how many strays went."""
        wanted = {forward.hnps: forward.forwarding for forward in sessions if forward.forwarding}
        self._names.update((forward.hnps, forward.mn_id) for forward in sessions)
        self._listed.update((session, self._listing(session, forwarding)) for session, forwarding in wanted.items())
        strays = adoption.install(wanted, self._listed, self._paths, self._route_socket, self._keeping)
        for session, forwarding in wanted.items():
            self._remember(session, forwarding)
        if self._senders:
            self._senders.adopt({session: station_of(forwarding) for session, forwarding in wanted.items()})
        if self._keeping:
            adoption.resume(wanted, self._keeping)
        ways = [self._paths.installed(hnp, wanted[session]) for session in wanted for hnp in session]
        installed = {*chain(*ways), *(Route(pool, routes.LAST_METRIC) for pool in self._pools)}
        if self._local_routing:
            installed |= {Rule(EVERYTHING, name, routes.LOCAL_TABLE) for name in self._access_interfaces}
        tables = {*self._peers.tables.values()}
        return strays + reconcile.remove_strays(self._ipr, self._role.protocol, installed, tables)

    def _remove(self) -> None:
        reconcile.remove_all(self._ipr, self._role.protocol)
        tunnels.ensure(self._ipr, self._role.device_prefix, IPv6Address("::"), set())
        if self._access:
            self._access.release()

    def _mend(self) -> None:
        """A tunnel that somebody has deleted is made anew, and with it what the kernel has thrown away."""
        if not self._peers.lost() or not (changed := self._peers.mend()):
            return
        for session, wanted in self._sessions.items():
            if changed & peers_of(wanted):
                self._route_socket.request(
                    [m for hnp in session for m in self._paths.additions(hnp, None, wanted)], THERE
                )
                if self._keeping:
                    old, listing = self._listed[session], self._listing(session, wanted)
                    self._keeping.elements.change(add=list(listing - old), remove=list(old - listing))
                    self._listed[session] = listing

    def _change(self, session: Session, before: Forwarding | None, wanted: Forwarding | None) -> None:
        """Gate shut, then path, then strays, then what was held: each ahead of the next. Can be done once more."""
        additions = [m for hnp in session for m in self._paths.additions(hnp, before, wanted)] if wanted else []
        leftovers = [m for hnp in session for m in self._paths.leftovers(hnp, before, wanted)] if before else []
        old, listing = self._listed.get(session, frozenset()), self._listing(session, wanted)
        later = self._shut(session, before, wanted, listing - old)
        self._listed[session] = listing | old
        if self._senders and wanted:
            self._senders.path(session, *station_of(wanted))
        self._route_socket.request(additions, THERE)
        self._remember(session, wanted)
        if keeping := self._keeping:
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
            if self._senders:
                self._senders.path(session, None, None)

    def _shut(
        self, session: Session, before: Forwarding | None, wanted: Forwarding | None, listing: frozenset[Element]
    ) -> list[Element]:
        """Begin a hold if one is wanted, and list what can be listed now; the rest when the path is there."""
        if self._keeping is None:
            if wanted and (wanted.held or wanted.uplink_from):
                raise DataPlaneError("this daemon is not configured to hold packets")
            return []
        # Early strays go ahead of what comes when the path is there: that waits a moment.
        is_new = before is None and access_of(wanted) is not None
        if (wanted and wanted.held) or (is_new and self._keeping.pool.has_room()):
            self._keeping.hold(session, list(listing))
        elif is_new:
            return list(listing)
        else:
            self._keeping.elements.change(add=list(listing))
        return []

    def _remember(self, session: Session, wanted: Forwarding | None) -> None:
        for hnp in session:
            if wanted:
                self._session_of[key(hnp)] = session
            else:
                self._session_of.pop(key(hnp), None)
        if wanted:
            self._sessions[session] = wanted
        else:
            self._sessions.pop(session, None)

    def _listing(self, session: Session, wanted: Forwarding | None) -> frozenset[Element]:
        """What the filter is to know of it: at a MAG that it has a path, at an LMA from whom uplink is accepted."""
        if wanted is None or self._keeping is None:
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

    def _judge_returned(self, prefix: bytes, device: int) -> Fate:
        """What a MAG gave back goes where the MN is now, unless it has left there, or that is this very MAG."""
        match self._sessions.get(self._session_of.get(prefix, ())):
            case Forwarding(downlink=ToPeer(peer), returned_from=giver):
                if giver == peer:
                    return Fate.WAIT
                if self._peers.indexes[peer] != device:
                    return Fate.GO
        return Fate.WAIT_A_WHILE

    def _judge_early(self, prefix: bytes, device: int) -> Fate:
        forwarding = self._sessions.get(self._session_of.get(prefix, ()))
        if forwarding is None:
            return Fate.WAIT_A_WHILE
        giver = next((peer for peer in self._neighbours if self._peers.indexes[peer] == device), None)
        if giver and giver not in forwarding.downlink_from:
            return Fate.WAIT_A_WHILE
        return Fate.WAIT if forwarding.held else Fate.GO

    def _rules(self, local: IPv6Address, keep: Keep | None) -> str:
        devices = self._role.device_prefix + "*"
        strays = self._role.first_queue if keep else None
        octets, sessions = (keep.limits.octets, keep.limits.at_once) if keep else (0, 0)
        guard = self._guard.rules(devices) if self._guard else ""
        if self._role is LMA:
            return guard + lma_rules(devices, local, returned=strays, octets=octets, sessions=sessions)
        prefix = self._role.device_prefix
        return guard + mag_rules(
            devices,
            self._access_interfaces,
            peers=sorted(device_name(prefix, local, peer) for peer in self._neighbours),
            early=strays,
            uplink=keep is not None and keep.uplink,
            give_back=self._gives_back,
            octets=octets,
            sessions=sessions,
        )


def _hint(error: NetlinkError) -> str:
    return " (is the kernel module ip6_tunnel there? modprobe ip6_tunnel)" if error.code == errno.EOPNOTSUPP else ""
