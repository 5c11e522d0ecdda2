"""Who has which processor: a lab has one, its nodes share it in an order that repeats; daemons may have others."""

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

_STEERING = Path("/sys/class/net/lo/queues/rx-0/rps_cpus")


@contextmanager
def one_processor() -> Iterator[Set[int]]:
    """This process, and all that it starts meanwhile, have one processor; yields the others that daemons may have.

    What a namespace sends another waits in a queue of the processor that sent it: packets of one stream that were sent
    by two overtake each other as soon as one of the two is slow, and an emulated one may stand still for long. Who has
    another processor is to send by this one: `network.py` can have the kernel see to that, where it knows how.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield allowed - {min(allowed)} if _STEERING.exists() else frozenset()
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """This process runs as soon as it may and until it sleeps.

    Else what it has just woken (a MAG, by its carrier) would have the processor before it is done.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    first_come_first_served()
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def first_come_first_served(pid: int = 0) -> None:
    """From now on a process (this one) runs before all others but those like it, and after those that woke earlier.

    The lab's nodes share a processor. By the common policy who waits for whom depends on all that they did before, and
    so differs from run to run.
    """
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK  # what is started meanwhile is as any other
    os.sched_setscheduler(pid, policy, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
