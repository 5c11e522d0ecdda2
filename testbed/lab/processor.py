"""Which processors a lab has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_processor() -> Iterator[None]:
    """This process, and all that it starts meanwhile, have one processor.

    What a namespace sends another waits in a queue of the processor that sent it: packets of one stream that were sent
    by two overtake each other as soon as one of the two is slow, and an emulated one may stand still for long.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
