"""On access links that several MNs share: which MAC may send from which home network prefix (guard.py has the rule)."""

from collections.abc import Mapping
from itertools import chain
from struct import pack

from common.dataplane.elements import Element, ElementSocket
from common.dataplane.hold import Session


class Senders:
    """`links`: the device index of each shared link."""

    def __init__(self, table: str, links: Mapping[str, int]) -> None:
        self._elements = ElementSocket(table)
        self._links = links
        self._bound: dict[Session, frozenset[Element]] = {}

    def path(self, session: Session, interface: str | None, mac: bytes | None) -> None:
        """The session's MN is on this link, with this MAC; None: nobody knows where, or it is nobody's concern."""
        before = self._bound.pop(session, frozenset())
        wanted = frozenset(
            _elements(session, self._links[interface], mac) if interface and mac and interface in self._links else ()
        )
        self._elements.change(add=list(wanted - before), remove=list(before - wanted))
        if wanted:
            self._bound[session] = wanted

    def adopt(self, stations: Mapping[Session, tuple[str | None, bytes | None]]) -> None:
        """These and no others are where they were, of what an earlier life has left."""
        for session, station in stations.items():
            self.path(session, *station)
        bound = frozenset[Element]().union(*self._bound.values())
        strays = (self._elements.listed("guarded") | self._elements.listed("bound")) - bound
        self._elements.change(remove=list(strays))

    def refill(self) -> None:
        """The sets are empty: put into them what is to be there."""
        self._elements.change(add=list(chain(*self._bound.values())))

    def close(self) -> None:
        self._elements.close()


def _elements(session: Session, index: int, mac: bytes) -> list[Element]:
    link = pack("=I", index)
    keys = [hnp.network_address.packed[:8] for hnp in session]
    return [
        *(Element("guarded", link + key) for key in keys),
        *(Element("bound", link + mac + bytes(2) + key) for key in keys),
    ]
