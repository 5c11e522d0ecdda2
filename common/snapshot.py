"""What a scrape shows, as it is at one moment in the event loop."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Generic, TypeVar

from common.daemon import Shell
from common.phases import Histogram, Phases

Labels = tuple[str, ...]
Reachable = Callable[[], dict[IPv6Address, bool]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions(Generic[T]):
    """The gauge `name`: how many of `entries()`, which do not change, have the same labels.

    `every` are the labels that are shown even if there is none.
    """

    name: str
    meaning: str
    labels: Labels
    entries: Callable[[], Iterable[T]]
    labels_of: Callable[[T], Labels]
    every: Callable[[], Iterable[Labels]]


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """What a scrape shows, taken at one moment in the event loop; everything that takes time comes later."""

    sessions: Sessions[T]
    entries: Sequence[T]
    every: Sequence[Labels]
    messages: Counter[tuple[str, str, str]]  # by direction, name, outcome
    events: Counter[str]
    kernel_drops: dict[str, int]
    holds: list[dict[str, object]]
    phases: dict[str, Histogram] = field(default_factory=dict)
    reachable: dict[str, bool] = field(default_factory=dict)  # by peer

    def counted(self) -> dict[Labels, int]:
        return {**dict.fromkeys(self.every, 0), **Counter(map(self.sessions.labels_of, self.entries))}


def take(shell: Shell, sessions: Sessions[T], phases: Phases, reachable: Reachable) -> Snapshot[T]:
    return Snapshot(
        sessions,
        list(sessions.entries()),
        list(sessions.every()),
        Counter(shell.effects.messages),
        Counter(shell.effects.events),
        shell.effects.drops(),
        shell.data_plane.holds(),
        {name: histogram.copy() for name, histogram in phases.histograms.items()},
        {str(peer): answers for peer, answers in reachable().items()},
    )
