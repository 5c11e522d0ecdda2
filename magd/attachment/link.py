"""Attachment by carrier: the kernel's netlink word that an access link came or went."""

import asyncio
import errno
import socket
from collections.abc import Callable, Collection

from common.dataplane.access import Carrier, LinkMonitor, has_carrier


class LinkSource:
    """Calls `up(interface)` and `down(interface)` when the carrier of an access interface changes.

    `replaced(interface)` comes first when it is another one than before, of the same name: nothing of what the daemon
    has given to an access link, or reads there, is on that.
    Those that are `occupied` by MNs of an earlier life of the daemon are taken to have had one, the others not.
    """

    def __init__(
        self,
        interfaces: tuple[str, ...],
        up: Callable[[str], None],
        down: Callable[[str], None],
        replaced: Callable[[str], None],
        occupied: Collection[str] = (),
    ) -> None:
        self._monitor = LinkMonitor()
        self._carrier = {interface: interface in occupied for interface in interfaces}
        self._devices = {interface: socket.if_nametoindex(interface) for interface in interfaces}
        self._up, self._down, self._replaced = up, down, replaced

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._monitor.socket, self._readable)
        self._look()

    def tell_again(self) -> None:
        """Of every carrier that is there: somebody may know now what to make of it."""
        for interface, carrier in self._carrier.items():
            if carrier:
                self._up(interface)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._monitor.socket)
        self._monitor.close()

    def _readable(self) -> None:
        try:
            for said in self._monitor.events():
                self._changed(said)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._look()  # the kernel had more to say than the socket could hold

    def _look(self) -> None:
        for interface in self._carrier:
            on = has_carrier(interface)
            try:
                device = socket.if_nametoindex(interface) if on else 0
            except OSError:
                continue  # gone meanwhile: there is more to be read
            self._changed(Carrier(interface, device, on))

    def _changed(self, said: Carrier) -> None:
        interface, device, on = said
        if self._carrier.get(interface, on) == on:
            return
        self._carrier[interface] = on
        if on and device != self._devices[interface]:
            self._devices[interface] = device
            self._replaced(interface)
        (self._up if on else self._down)(interface)
