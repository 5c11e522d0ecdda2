"""Python's search for unreachable cycles, made when nothing waits for the daemon.

Left to itself the interpreter searches after so many allocations, which is in the middle of somebody's handover as
likely as not, and a whole search visits every object there is: with 100,000 bindings that takes a tenth of a second and
more. Most of what the daemons drop is in no cycle and is freed without any search; what is, can wait.
"""

import gc

YOUNG = 5000  # allocations that have outlived themselves before it is worth a look
WHOLE_SEARCH_EVERY = 3600.0  # seconds


class Garbage:
    """Takes the search over from the interpreter when made. What lives by then stays for good and is never visited."""

    def __init__(self, now: float) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._searched = now

    @property
    def waits(self) -> bool:
        """Whether a search is due."""
        return gc.get_count()[0] > YOUNG

    def search(self, now: float) -> None:
        """Among what is young; once an hour among all."""
        if now - self._searched > WHOLE_SEARCH_EVERY:
            self._searched = now
            gc.collect()
        else:
            gc.collect(1)
