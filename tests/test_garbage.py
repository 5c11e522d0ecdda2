"""The search for garbage is ours, and made at leisure."""

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from common.garbage import WHOLE_SEARCH_EVERY, YOUNG, Garbage


class Cycle:
    def __init__(self) -> None:
        self.myself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_cycles_go_when_asked_and_not_before() -> None:
    ours = Garbage(0.0)
    dropped = ref(Cycle())
    kept = [Cycle() for _ in range(YOUNG + 1)]
    assert dropped() is not None
    assert ours.waits
    ours.search(1.0)
    assert dropped() is None
    assert not ours.waits
    assert len(kept) > YOUNG


def test_what_has_become_old_goes_within_the_hour() -> None:
    ours = Garbage(0.0)
    cycle = Cycle()
    dropped = ref(cycle)
    for _ in range(2):
        ours.search(1.0)
    del cycle
    ours.search(1.0)
    assert dropped() is not None
    ours.search(WHOLE_SEARCH_EVERY + 1.0)
    assert dropped() is None
