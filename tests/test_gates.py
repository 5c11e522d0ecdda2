"""Gates whose kernel says no; with one that does what it is told they are tested in tests/netns."""

import os
from collections.abc import Sequence
from typing import cast

import pytest

from common.dataplane.elements import Element, ElementSocket
from common.dataplane.gates import PAUSE_S, SETTLE_S, Gate, Gates, State
from common.errors import DataPlaneError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a netlink socket with a buffer of that size needs root")


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
