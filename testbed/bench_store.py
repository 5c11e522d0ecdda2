"""What it costs that state outlives the daemon: handovers with and without a store, and a start with many bindings."""

import statistics
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

from common.actions import Action
from common.mh.messages import Message
from common.persistence import Persistence
from common.store import SqliteStore
from lmad.adoption import adopt, tables
from lmad.lma import LocalMobilityAnchor
from testbed.bench_core import HANDOVERS_PER_S_GOAL, Mover, anchor
from testbed.bench_row import Row

RESIDENT = 10_000
MANY = 100_000
ROUNDS, HANDOVERS_A_ROUND = 12, 500
SETTLE_EVERY_S = 0.2  # as the daemons do


def store() -> Iterator[Row]:
    """Both run in turns, so that what else the machine does meets both."""
    for scheme in ("pmipv6", "context-reflector"):
        with TemporaryDirectory() as directory:
            bare = _Rate(Mover(anchor(scheme, RESIDENT), scheme == "context-reflector"))
            lma = _Stored(anchor(scheme, RESIDENT), Path(directory), scheme)
            stored = _Rate(Mover(lma, scheme == "context-reflector"))
            for _ in range(ROUNDS):
                bare.round()
                stored.round()
            lma.persistence.close()
        name = f"handovers-{scheme}-{RESIDENT}-bindings"
        yield Row(f"{name}-in-turns", bare.median(), "handovers/s", HANDOVERS_PER_S_GOAL)
        yield Row(f"{name}-stored", stored.median(), "handovers/s", HANDOVERS_PER_S_GOAL)
        costs_us = 1e6 / stored.median() - 1e6 / bare.median()
        yield Row(f"store-{scheme}-a-handover", costs_us, "µs", None, higher_is_better=False)
    yield from _start()


class _Stored:
    """An anchor whose changes are saved before its actions are carried out, as the shell has it."""

    def __init__(self, lma: LocalMobilityAnchor, directory: Path, scheme: str) -> None:
        self._lma = lma
        self.persistence = Persistence(SqliteStore(directory, "lmad"), tables(lma, scheme))
        self.persistence.watch()
        self._settle_at = time.perf_counter() + SETTLE_EVERY_S

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]:
        actions = self._lma.receive(source, message, now)
        self.persistence.save()
        if time.perf_counter() > self._settle_at:
            if self.persistence.settle():
                self.persistence.sync()
            self._settle_at = time.perf_counter() + SETTLE_EVERY_S
        return actions


class _Rate:
    def __init__(self, mover: Mover) -> None:
        self._mover = mover
        self._number = 0
        self._rates: list[float] = []
        self.round()
        self._rates.clear()

    def round(self) -> None:
        self._rates.append(HANDOVERS_A_ROUND / _seconds(self._many))

    def _many(self) -> None:
        for _ in range(HANDOVERS_A_ROUND):
            self._mover.hand_over(self._number)
            self._number += 1

    def median(self) -> float:
        return statistics.median(self._rates)


def _start() -> Iterator[Row]:
    """How long a start with many bindings takes, without the kernel's part."""
    with TemporaryDirectory() as directory:
        before = Persistence(SqliteStore(Path(directory), "lmad"), tables(anchor("pmipv6", MANY), "pmipv6"))
        before.watch()
        before.close()
        lma = anchor("pmipv6", 0, MANY)

        def start() -> None:
            after = Persistence(SqliteStore(Path(directory), "lmad"), tables(lma, "pmipv6"))
            assert len(adopt(lma, after.loaded, "pmipv6")) == MANY
            after.watch()
            after.close()

        yield Row(f"start-with-{MANY}-stored-bindings", _seconds(start), "s", None, higher_is_better=False)


def _seconds(work: Callable[[], None]) -> float:
    """Of this process's processor time: what else runs here costs a handover nothing."""
    began = time.process_time()
    work()
    return time.process_time() - began
