"""What it costs that state outlives the daemon: handovers with and without a store, and a start with many bindings."""

import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

from common.actions import Action
from common.mh.messages import Message
from common.persistence import Persistence
from common.store import SqliteStore
from lmad.adoption import adopt, tables
from lmad.lma import LocalMobilityAnchor
from testbed.bench.core import (
    HANDOVERS_PER_S_GOAL,
    MOVERS,
    ROUNDS,
    Movers,
    anchor,
    garbage_as_in_the_daemons,
    processor_seconds,
)
from testbed.bench.row import Row

RESIDENT = 10_000
MANY = 100_000
SETTLE_EVERY_S = 0.2  # as the daemons do


def store() -> Iterator[Row]:
    """Both run in turns, so that what else the machine does meets both."""
    for scheme in ("pmipv6", "context-reflector"):
        with TemporaryDirectory() as directory:
            bare = Movers(anchor(scheme, RESIDENT), scheme, RESIDENT)
            lma = _Stored(anchor(scheme, RESIDENT), Path(directory), scheme)
            stored = Movers(lma, scheme, RESIDENT)
            with garbage_as_in_the_daemons():
                times = [(bare.hand_over(), stored.hand_over()) for _ in range(1 + ROUNDS)][1:]
            lma.persistence.close()
        bare_s, stored_s = (min(way) / MOVERS for way in zip(*times, strict=True))
        name = f"handovers-{scheme}-{RESIDENT}-bindings"
        yield Row(f"{name}-in-turns", 1 / bare_s, "handovers/s", HANDOVERS_PER_S_GOAL)
        yield Row(f"{name}-stored", 1 / stored_s, "handovers/s", HANDOVERS_PER_S_GOAL)
        yield Row(f"store-{scheme}-a-handover", 1e6 * (stored_s - bare_s), "µs", None, higher_is_better=False)
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

    def deadline(self) -> float | None:
        return self._lma.deadline()


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

        yield Row(f"start-with-{MANY}-stored-bindings", processor_seconds(start), "s", None, higher_is_better=False)
