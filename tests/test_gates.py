"""Gates whose kernel says no; with one that does what it is told they are tested in tests/netns."""

import os
from collections.abc import Sequence
from errno import ENOENT, EPERM
from typing import cast

import pytest

from common.dataplane.elements import Element, ElementSocket
from common.dataplane.gates import PAUSE_S, SETTLE_S, Gate, Gates, State
from common.errors import DataPlaneError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a netlink socket with a buffer of that size needs root")


class Table:
    """The sets' elements."""

    def __init__(self) -> None:
        self.elements: set[Element] = set()

    def change(self, add: Sequence[Element] = (), remove: Sequence[Element] = ()) -> None:
        if not self.elements.issuperset(remove):
            raise DataPlaneError("the kernel refused a set element: No such file or directory")
        self.elements -= set(remove)
        self.elements |= set(add)


class NoTable:
    """As after `nft flush ruleset`, until somebody has made the table anew."""

    is_there = False

    def change(self, add: Sequence[Element] = (), remove: Sequence[Element] = ()) -> None:
        if not self.is_there:
            raise DataPlaneError("the kernel refused a set element: No such file or directory")


def test_what_the_kernel_refuses_is_tried_again_after_a_pause() -> None:
    table = NoTable()
    gates = Gates(cast(ElementSocket, table))
    gate = Gate(0x4000, (Element("held", bytes(8)),), (), 1024, "hold", state=State.OPENING, due=10.0)
    gates._shut.add(gate)
    with pytest.raises(DataPlaneError):
        gates.expire(10.0)
    assert gates.deadline() == 10.0 + PAUSE_S  # not at once, and again, and again
    table.is_there = True
    gates.expire(11.0)
    assert (gate.state, gates.deadline()) == (State.CLEARING, 11.0 + SETTLE_S)
    gates.end()


def test_a_gate_that_could_not_be_opened_can_be_opened_later(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    gates = Gates(cast(ElementSocket, table))
    gate = Gate(0x4000, (Element("held", bytes(8)),), (Element("full", bytes(8)),), 1024, "hold")
    gates.close(gate)
    closed = set(table.elements)
    monkeypatch.setattr(gates._queues, "request", lambda messages: [EPERM] * len(messages))
    with pytest.raises(DataPlaneError, match="does not let go"):
        gates.open(gate)
    assert (gate.state, table.elements) == (State.CLOSED, closed)
    monkeypatch.setattr(gates._queues, "request", lambda messages: [0] * (len(messages) - 1) + [ENOENT])
    gates.open(gate)
    assert (gate.state, table.elements) == (State.OPENING, set(gate.elements))
    gates.end()
