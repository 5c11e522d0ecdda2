"""The metrics as Prometheus reads them, over HTTP.

The HTTP side is prometheus_client's, in a thread of its own; for each scrape the event loop is asked once for a
snapshot, so no counter is touched by two threads and nothing is written on the packet path.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv6Address
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common.errors import ConfigError
from common.events import Kind, event
from common.phases import BOUNDS, Histogram
from common.snapshot import Snapshot

PREFIX = "context_reflector"
SNAPSHOT_TIMEOUT_S = 5.0


def families(snapshot: Snapshot[Any]) -> Iterator[Metric]:
    """The metrics of one scrape; process figures come with the library's own collector."""
    kind = snapshot.sessions
    sessions = GaugeMetricFamily(f"{PREFIX}_{kind.name}", kind.meaning, labels=kind.labels)
    for labels, number in snapshot.counted().items():
        sessions.add_metric(labels, number)
    yield sessions
    messages = CounterMetricFamily(
        f"{PREFIX}_messages", "Mobility Header messages", labels=("direction", "type", "outcome")
    )
    for labels, number in snapshot.messages.items():
        messages.add_metric(labels, number)
    yield messages
    kinds: dict[Kind, dict[str, int]] = {kind: {} for kind in Kind}
    for name, number in snapshot.events.items():
        kinds[event(name).kind][name] = number
    yield _counter("refusals", "requests that were answered with a no", "reason", kinds[Kind.REFUSED])
    yield _counter("ignored", "messages that were dropped", "reason", kinds[Kind.IGNORED])
    yield _counter("failures", "what kernel or network did not do", "reason", kinds[Kind.FAILED])
    yield _counter("events", "everything else worth noting", "event", kinds[Kind.DONE])
    yield _counter("kernel_drops", "packets that the kernel dropped by our rules", "reason", snapshot.kernel_drops)
    held = sum(int(str(row["packets"])) for row in snapshot.holds)
    yield GaugeMetricFamily(f"{PREFIX}_held_packets", "packets that wait in the kernel", held)
    yield GaugeMetricFamily(f"{PREFIX}_held_sessions", "sessions whose packets wait", len(snapshot.holds))
    peers = GaugeMetricFamily(f"{PREFIX}_peer_reachable", "whether a peer answers heartbeats", labels=("peer",))
    for peer, answers in snapshot.reachable.items():
        peers.add_metric((peer,), answers)
    yield peers
    phases = HistogramMetricFamily(
        f"{PREFIX}_handover_phase_seconds", "how long a phase of a handover took", labels=("phase",)
    )
    for name, histogram in snapshot.phases.items():
        if any(histogram.counts):  # not every scheme has every phase
            phases.add_metric((name,), _buckets(histogram), histogram.total)
    yield phases


@contextmanager
def served(address: IPv6Address, port: int, snapshot: Callable[[], Snapshot[Any]]) -> Iterator[None]:
    """Answer scrapes at this address and port meanwhile. To be entered in the event loop."""
    registry = CollectorRegistry()
    registry.register(_InLoop(asyncio.get_running_loop(), snapshot))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, str(address), registry)
    except OSError as error:
        raise ConfigError(f"metrics at [{address}]:{port}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _InLoop(Collector):
    """Asks the event loop, from the thread that serves HTTP."""

    def __init__(self, loop: asyncio.AbstractEventLoop, snapshot: Callable[[], Snapshot[Any]]) -> None:
        self._loop = loop
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not wait for the loop

    def collect(self) -> Iterator[Metric]:
        async def ask() -> Snapshot[Any]:
            return self._snapshot()

        answer = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        return families(answer.result(SNAPSHOT_TIMEOUT_S))


def _counter(name: str, meaning: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{PREFIX}_{name}", meaning, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus wants them cumulated, each with its bound."""
    cumulated, buckets = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), histogram.counts, strict=True):
        cumulated += count
        buckets.append((bound, float(cumulated)))
    return buckets
