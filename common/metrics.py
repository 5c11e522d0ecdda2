"""Metrics for Prometheus: what the daemon counts anyway, read when somebody asks. docs/operating.md lists them all.

Nothing of it is on the packet path but the clock of handover phases (phases.py), while metrics are served.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address
from typing import TypeVar

from common.daemon import Shell
from common.phases import Phase, Phases
from common.snapshot import Reachable, Sessions, take

SWITCH_INTERVAL_S = 0.0005  # the event loop waits no longer for the thread that answers a scrape
T = TypeVar("T")


@contextmanager
def metrics(
    listen: tuple[IPv6Address | None, int],
    shell: Shell,
    sessions: Sessions[T],
    phases: Sequence[Phase],
    clock: Callable[[], float],
    *,
    reachable: Reachable,
) -> Iterator[None]:
    """Serve them meanwhile at this address and port, if there is an address. To be entered in the event loop."""
    address, port = listen
    if address is None:
        yield
        return
    from common.exposition import served  # noqa: PLC0415 - prometheus_client takes a tenth of a second

    watched = Phases(phases, clock)
    shell.journal.listeners.append(watched.hear)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with served(address, port, lambda: take(shell, sessions, watched, reachable)):
            yield
    finally:
        sys.setswitchinterval(interval)
        shell.journal.listeners.remove(watched.hear)
