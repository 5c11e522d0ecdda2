"""What is done when the filter's table vanishes (tests/netns has it on a kernel); here the kernel's words are made."""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from common.actions import Note
from common.dataplane.elements import MSG_DELTABLE, MSG_NEWSETELEM, TABLE_NAME
from common.dataplane.filter import Filter
from common.dataplane.netlink import GENERIC, HEADER, attribute
from common.dataplane.upkeep import AGAIN_S, BURST, RATE, Upkeep
from common.errors import DataPlaneError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="netlink sockets need root")

TABLE = "context_reflector_lmad"


class NoTable:
    """A filter whose table is gone until it is made anew, which is refused while `refuses`."""

    def __init__(self) -> None:
        self.there = True
        self.refuses = False
        self.made = 0

    def is_there(self) -> bool:
        return self.there

    def remake(self, refill: Callable[[], None]) -> None:
        if self.refuses:
            raise DataPlaneError("nftables refused a rule: No such file or directory")
        refill()
        self.there = True
        self.made += 1


class World:
    """An Upkeep, and who speaks to it in the kernel's place."""

    def __init__(self) -> None:
        self.filter = NoTable()
        self.notes: deque[Note] = deque()
        self.filled = 0
        self.upkeep = Upkeep(TABLE, cast(Filter, self.filter), self._refill, self.notes)
        self.upkeep.socket.close()
        self.upkeep.socket, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.upkeep.socket.setblocking(False)

    def delete(self) -> None:
        self.filter.there = False
        self.kernel.send(message(MSG_DELTABLE, TABLE))

    def _refill(self) -> None:
        self.filled += 1


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.upkeep.close()
    made.kernel.close()


def message(kind: int, table: str, family: int = socket.AF_INET6) -> bytes:
    body = GENERIC.pack(family, 0, 0) + attribute(TABLE_NAME, table.encode() + b"\0") + attribute(2, bytes(4))
    return HEADER.pack(HEADER.size + len(body), kind, 0, 0, 0) + body


def test_the_end_of_the_table_is_found_among_other_words(world: World) -> None:
    world.filter.there = False
    others = (
        message(MSG_NEWSETELEM, TABLE) + message(MSG_DELTABLE, "other") + message(MSG_DELTABLE, TABLE, socket.AF_INET)
    )
    world.kernel.send(others)
    world.upkeep.look()
    assert (world.filter.made, world.notes) == (0, deque())
    world.kernel.send(others + message(MSG_DELTABLE, TABLE) + others)
    world.upkeep.look()
    assert (world.filter.made, world.filled) == (1, 1)
    assert [note.event for note in world.notes] == ["table-mended"]


def test_a_table_that_was_replaced_by_ourselves_stays(world: World) -> None:
    world.kernel.send(message(MSG_DELTABLE, TABLE))
    world.upkeep.look()
    assert (world.filter.made, world.upkeep.deadline()) == (0, None)


def test_who_deletes_again_and_again_is_followed_slowly(world: World) -> None:
    for _ in range(int(BURST) + 2):
        world.delete()
        world.upkeep.look()
    assert world.filter.made == BURST
    due = world.upkeep.deadline()
    assert due is not None
    world.upkeep.expire(due - 1 / RATE / 2)
    assert world.filter.made == BURST
    world.upkeep.expire(due)
    assert (world.filter.made, world.upkeep.deadline()) == (BURST + 1, None)


def test_what_the_kernel_refuses_is_tried_again(world: World) -> None:
    world.filter.refuses = True
    world.delete()
    with pytest.raises(DataPlaneError):
        world.upkeep.look()
    due = world.upkeep.deadline()
    assert due is not None
    with pytest.raises(DataPlaneError):
        world.upkeep.expire(due)
    world.filter.refuses = False
    world.upkeep.expire(due + AGAIN_S)
    assert (world.filter.made, len(world.notes), world.upkeep.deadline()) == (1, 1, None)
