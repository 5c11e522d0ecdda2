"""The Linux data plane: ip6tnl tunnels, routes, source rules, the packet filter, packets that wait.

Here is what there is once, from start to close; what each session has, and how that changes, is in `sessions.py`.
Tunnels, routes and the table carry the role's marks: at start whatever bears them and is not wanted goes, and nothing
else is ever touched.
"""

import errno
import time
from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from common.actions import Forward, Note
from common.dataplane import reconcile, routes, tunnels
from common.dataplane.access import AccessLinks, Before
from common.dataplane.filter import Filter, lma_rules, mag_rules
from common.dataplane.forwardings import router_of
from common.dataplane.guard import Guard
from common.dataplane.keeping import Keep, Keeping, Watch
from common.dataplane.netlink import RouteSocket
from common.dataplane.paths import Paths, interface_index
from common.dataplane.peers import PeerTunnels
from common.dataplane.reconcile import EVERYTHING, Route, Rule
from common.dataplane.roles import LMA, Role
from common.dataplane.router import RESERVED, RouterAddresses
from common.dataplane.senders import Senders
from common.dataplane.sessions import Sessions
from common.dataplane.tunnels import device_name
from common.dataplane.upkeep import Upkeep
from common.errors import DataPlaneError

MEND_AGAIN_S = 5.0  # after the kernel has refused to make a tunnel anew
FORWARDING = Path("/proc/sys/net/ipv6/conf/all/forwarding")


class LinuxDataPlane:
    """DataPlane on netlink and nftables; `pools` are attracted, `access_interfaces` are the MAG's.

    Without `keep` no packet ever waits, and what would make one wait is refused. `guard` is what is not let in. With
    `local_routing` MNs of one MAG can talk directly. `neighbours` are other MAGs: from the tunnels to them comes only
    what a Forwarding says. `router` is what MNs see of a MAG.
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
        router: RouterAddresses = RESERVED,
    ) -> None:
        self._role = role
        self._router = router
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
        self.notes: deque[Note] = deque()
        self._peers = PeerTunnels(role.device_prefix, role.protocol)
        self._table = f"context_reflector_{role.name}"
        self._filter = Filter(self._table)
        self._route_socket = RouteSocket()
        paths = Paths(role.protocol, self._peers.indexes, self._peers.tables)
        self._sessions = Sessions(role, paths, self._route_socket, self._peers.indexes, self._neighbours)
        self._upkeep = Upkeep(self._table, self._filter, self._sessions.refill, self.notes)
        self._access: AccessLinks | None = None
        self._mend_at: float | None = None
        self._ipr = IPRoute()

    def start(self, local: IPv6Address, peers: Iterable[IPv6Address], sessions: Sequence[Forward] = ()) -> int:
        """See DataPlane.start; also takes the access interfaces and attracts the pools."""
        if FORWARDING.read_text().strip() != "1":
            raise DataPlaneError("this node does not forward IPv6; set it: sysctl -w net.ipv6.conf.all.forwarding=1")
        try:
            routes.prepare(self._role.protocol)
            rules = self._rules(local, self._keep)
            if not (is_filtered := self._filter.adopt(rules)):
                self._filter.install(self._rules(local, None))  # nothing must lead to queues that are about to be made
            self._peers.prepare(self._ipr, local, [*peers, *self._neighbours])
            if self._access_interfaces:
                self._sessions.access = self._access = AccessLinks(
                    self._ipr,
                    self._access_interfaces,
                    route_socket=self._route_socket,
                    router=self._router,
                    wanted={at for each in sessions if (at := router_of(each.forwarding))},
                    give_back=self._gives_back,
                    memory=self._links,
                )
                self._peers.prepare_tables(self._ipr)
            if self._local_routing:
                self._peers.prepare_local_routing(self._ipr, self._access_interfaces)
        except NetlinkError as error:
            raise DataPlaneError(f"the kernel refused a tunnel or route: {error}{_hint(error)}") from error
        self._route_socket.request([routes.attract(self._role.protocol, pool) for pool in self._pools])
        if self._keep:
            access = {name: interface_index(name) for name in self._access_interfaces}
            self._sessions.keeping = self._keeping = Keeping(
                self._table,
                self._keep,
                first=self._role.first_queue,
                access=access,
                judge=self._sessions.judge,
                stray_reason=self._role.stray_reason,
                inherited=self._inherited,
            )
            self._keeping.prepare()
        if not is_filtered:
            self._filter.install(rules)
        elif self._guard:
            self._filter.set_peers(self._guard.peers)  # since these rules were made it may have followed another file
        if self._guard and self._guard.shared:
            links = {name: interface_index(name) for name in self._guard.shared}
            self._sessions.senders = self._senders = Senders(self._table, links)
        return self._go_on(sessions)

    def reach(self, peers: Iterable[IPv6Address], others: Iterable[IPv6Address] = ()) -> None:
        """Have a tunnel to each of these, too, and let these and `others` signal, and nobody else.

        A tunnel that nobody wants any more goes at the next start. Raises DataPlaneError.
        """
        peers = tuple(peers)
        self._peers.reach(peers)
        if self._guard:
            self._filter.set_peers(tuple(dict.fromkeys((*peers, *others))))

    def tunnel_device(self, peer: IPv6Address) -> str:
        """The name of the tunnel to a peer."""
        return self._peers.device(peer)

    def apply(self, forward: Forward) -> None:
        """See DataPlane.apply."""
        self._upkeep.look()
        self._sessions.apply(forward)

    def hold_uplink(self, interface: str, keep: bool) -> None:
        """See DataPlane.hold_uplink."""
        self._upkeep.look()
        if self._keeping:
            self._keeping.uplink.keep(interface, keep)

    def sockets(self) -> list[Watch]:
        own: list[Watch] = [(self._peers.socket, self._links_changed), (self._upkeep.socket, self._upkeep.look)]
        return own + (self._keeping.sockets() if self._keeping else [])

    def deadline(self) -> float | None:
        moments = (self._mend_at, self._upkeep.deadline(), self._keeping.deadline() if self._keeping else None)
        return min((moment for moment in moments if moment is not None), default=None)

    def expire(self, now: float) -> None:
        self._upkeep.look()
        self._upkeep.expire(now)
        if self._keeping:
            self._keeping.expire(now)
        if self._mend_at is not None and self._mend_at <= now:
            self._mend()

    def holds(self) -> list[dict[str, object]]:
        """See DataPlane.holds."""
        if not self._keeping:
            return []
        strays = self._keeping.strays
        return [
            {
                "mn_id": self._sessions.name(session),
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
        self._upkeep.close()
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
        strays, installed = self._sessions.adopt(sessions)
        installed |= {Route(pool, routes.LAST_METRIC) for pool in self._pools}
        if self._local_routing:
            installed |= {Rule(EVERYTHING, name, routes.LOCAL_TABLE) for name in self._access_interfaces}
        tables = {*self._peers.tables.values()}
        return strays + reconcile.remove_strays(self._ipr, self._role.protocol, installed, tables)

    def _remove(self) -> None:
        reconcile.remove_all(self._ipr, self._role.protocol)
        tunnels.ensure(self._ipr, self._role.device_prefix, IPv6Address("::"), set())
        if self._access:
            self._access.release()

    def _links_changed(self) -> None:
        if self._peers.lost():
            self._mend()

    def _mend(self) -> None:
        """A tunnel that somebody has deleted is made anew, and with it what the kernel has thrown away."""
        self._mend_at = time.monotonic() + MEND_AGAIN_S
        changed = self._peers.mend()
        self._mend_at = None
        for peer in sorted(changed):
            self.notes.append(Note("tunnel-mended", peer=peer, detail=f"it was {self.tunnel_device(peer)}"))
        if changed:
            self._sessions.mend(changed)

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
