"""The tunnel to each peer, and at a MAG the table that leads into it; one that somebody deletes is made anew."""

import errno
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv6Address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from common.dataplane import routes, tunnels
from common.dataplane.access import LinkMonitor
from common.errors import DataPlaneError

TUNNEL_TABLE = 5213  # the first of the tables whose default route is a tunnel


class PeerTunnels:
    """`indexes`: device index by peer; `tables`: by peer too, empty at an LMA. Both dictionaries stay the same ones."""

    def __init__(self, prefix: str, protocol: int) -> None:
        self.indexes: dict[IPv6Address, int] = {}
        self.tables: dict[IPv6Address, int] = {}
        self._prefix, self._protocol = prefix, protocol
        self._local = IPv6Address(0)
        self._monitor: LinkMonitor | None = None

    def prepare(self, ipr: IPRoute, local: IPv6Address, peers: Iterable[IPv6Address]) -> None:
        """Have exactly these tunnels. Raises NetlinkError."""
        self._local = local
        self._monitor = LinkMonitor(gone=True)  # from now on nothing is missed
        self.indexes.update(tunnels.ensure(ipr, self._prefix, local, set(peers)))

    def reach(self, peers: Iterable[IPv6Address]) -> None:
        """Have tunnels to these, too. Raises DataPlaneError. For the thread see `mend`."""
        ends = {*self.indexes, *peers}
        if ends == self.indexes.keys():
            return
        with ThreadPoolExecutor(1) as worker:
            try:
                self.indexes.update(worker.submit(self._ensure, ends).result())
            except NetlinkError as error:
                raise DataPlaneError(f"the kernel refused a tunnel: {error}") from error

    def _ensure(self, ends: set[IPv6Address]) -> dict[IPv6Address, int]:
        with IPRoute() as ipr:
            return tunnels.ensure(ipr, self._prefix, self._local, ends)

    def prepare_tables(self, ipr: IPRoute) -> None:
        """Have a table for each. Raises NetlinkError."""
        for number, peer in enumerate(sorted(self.indexes)):
            self.tables[peer] = TUNNEL_TABLE + number
            self._fill_table(ipr, peer)

    def prepare_local_routing(self, ipr: IPRoute, interfaces: Iterable[str]) -> None:
        """What comes from these links looks for its destination among their prefixes first. Raises NetlinkError."""
        for interface in interfaces:
            what = {
                "iifname": interface,
                "table": routes.LOCAL_TABLE,
                "priority": routes.LOCAL_TABLE,
                "protocol": self._protocol,
            }
            try:
                ipr.rule("add", family=socket.AF_INET6, action="to_tbl", **what)
            except NetlinkError as error:
                if error.code != errno.EEXIST:  # an earlier life has left it
                    raise

    def device(self, peer: IPv6Address) -> str:
        """The name of the tunnel to a peer."""
        return tunnels.device_name(self._prefix, self._local, peer)

    @property
    def socket(self) -> socket.socket:
        """To be read by `lost`."""
        assert self._monitor
        return self._monitor.socket

    def lost(self) -> bool:
        """Whether a tunnel may have vanished since the last call."""
        assert self._monitor
        try:
            gone = [name for name, *_ in self._monitor.events() if name.startswith(self._prefix)]
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True  # the kernel had more to say than the socket could hold
        return any(not _exists(name) for name in gone)

    def mend(self) -> frozenset[IPv6Address]:
        """Make what has vanished anew; the peers whose tunnel is another device now. Raises DataPlaneError.

        pyroute2 runs an event loop of its own, so beside the daemon's it needs a thread.
        """
        before = dict(self.indexes)
        with ThreadPoolExecutor(1) as worker:
            try:
                worker.submit(self._mend).result()
            except NetlinkError as error:
                raise DataPlaneError(f"the kernel refused to make a tunnel anew: {error}") from error
        return frozenset(peer for peer, index in self.indexes.items() if before[peer] != index)

    def close(self) -> None:
        if self._monitor:
            self._monitor.close()

    def _mend(self) -> None:
        with IPRoute() as ipr:
            self.indexes.update(tunnels.ensure(ipr, self._prefix, self._local, set(self.indexes)))
            for peer in self.tables:
                self._fill_table(ipr, peer)

    def _fill_table(self, ipr: IPRoute, peer: IPv6Address) -> None:
        table = self.tables[peer]
        default = {"dst": "default", "family": socket.AF_INET6, "table": table, "proto": self._protocol}
        ipr.route("replace", **default, oif=self.indexes[peer])
        # Should the device vanish: uplink must not go on with the main table, outside the tunnel.
        ipr.route("replace", **default, type="unreachable", priority=routes.LAST_METRIC)


def _exists(name: str) -> bool:
    with suppress(OSError):
        return bool(socket.if_nametoindex(name))
    return False
