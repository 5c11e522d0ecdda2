"""What MNs send before they have a path: it waits in the kernel, per access link.

A link on which nobody has a path has its gate closed before anybody comes: an MN's first packets may be faster than
magd. The gate opens when the first path of the link is there; the filter behind it judges what is let go, as always.
"""

from collections.abc import Collection, Mapping
from struct import pack

from common.dataplane import nfqueue
from common.dataplane.elements import Element
from common.dataplane.gates import Gate, Gates
from common.dataplane.hold import Session

REFUSED = "uplink-refused"
LENGTH = 1024  # packets a link


class UplinkGates:
    """One gate for each access link; `indexes` maps their names to device indexes, queues count from `first`."""

    def __init__(self, gates: Gates, indexes: Mapping[str, int], first: int) -> None:
        self._gates = gates
        self._by_name = {name: _gate(index, first + number) for number, (name, index) in enumerate(indexes.items())}
        self._paths: dict[Session, str] = {}
        self._refused: set[str] = set()

    def prepare(self) -> None:
        """Have the queues. Raises DataPlaneError."""
        there = self._gates.inherited()
        self._gates.prepare((gate.queue for gate in self._by_name.values() if gate.queue not in there), LENGTH)

    def adopt(self, listed: Collection[Element]) -> list[Element]:
        """In an earlier life the gates with these elements were closed, and may have packets; their elements."""
        states, inherited, elements = nfqueue.states(), self._gates.inherited(), list[Element]()
        for gate in self._by_name.values():
            if gate.elements[-1] in listed:
                self._gates.adopt(gate, states[gate.queue])
                elements += gate.elements
            elif gate.queue in inherited:  # it may have been about to be made anew
                self._gates.dismiss(gate.queue)
                self._gates.prepare([gate.queue], LENGTH)
        return elements

    def start(self) -> None:
        """Close every gate."""
        for name in self._by_name:
            self._settle(name)

    def path(self, session: Session, interface: str | None) -> None:
        """The session has its path over this link: it is there already; None: over none, and it is still there."""
        before = self._paths.pop(session, None)
        if interface is not None:
            self._paths[session] = interface
        for changed in {before, interface} - {None}:
            self._settle(str(changed))

    def keep(self, interface: str, keep: bool) -> None:
        """Whether packets of nobody wait, or are dropped, those included that wait now."""
        (self._refused.discard if keep else self._refused.add)(interface)
        self._settle(interface)

    def _settle(self, interface: str) -> None:
        if (gate := self._by_name.get(interface)) is None:
            return
        has_path = interface in self._paths.values()
        if not has_path and interface not in self._refused:
            self._gates.close(gate)
        else:
            self._gates.open(gate, discard="" if has_path else REFUSED)


def _gate(device: int, queue: int) -> Gate:
    """See filter.py for the sets."""
    key = pack("=I", device)
    return Gate(
        queue, (Element("queue_of_link", key, pack("=I", queue)), Element("waiting", key)), (), LENGTH, "uplink"
    )
