"""Makes the runs of a comparison: on this kernel one after the other, else in virtual machines side by side.

Each worker is a process with a machine of its own, takes the next run when it is done with one, and leaves every run
whole in its directory (`results.py`). What the host does does not show with the virtual clock, so two machines at once
measure what one would.
"""

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

from testbed.backend import RUN_FAILURES, Backend, open_backend
from testbed.compare.results import Results
from testbed.compare.sweep import Planned
from testbed.vm.kvm import kvm_trouble
from testbed.vm.machine import MachineError

Progress = Callable[[str], None]
_POLL_S = 0.5
_STOP_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs are made: `testbed.backend.open_backend`'s arguments, and how many at a time."""

    where: Literal["native", "vm"]
    clock: Literal["real", "virtual"]
    jobs: int


class Failure(NamedTuple):
    run: Planned
    reason: str


class _Said(NamedTuple):
    """From a worker: progress of no run in particular, or that a run is done (`reason` says why it could not be)."""

    text: str
    run: Planned | None = None
    reason: str | None = None


class _Job(NamedTuple):
    """What all workers share: `taken` counts the runs that somebody has begun, `said` is a queue to their parent."""

    runs: Sequence[Planned]
    taken: Any
    said: Any
    results: Results
    place: Place


def jobs_for(where: str, clock: str, wanted: int | None) -> int:
    """How many machines at once: with the virtual clock one a processor, else one, for they would be in each other's
    way."""
    if where == "native" or (clock == "real" and kvm_trouble() is not None):
        return 1
    return wanted or (min(2, len(os.sched_getaffinity(0))) if clock == "virtual" else 1)


def make(
    runs: Sequence[Planned],
    results: Results,
    place: Place,
    progress: Progress,
) -> list[Failure]:
    """Make them all; those that could not be made. Raises MachineError when there is nobody left to make them."""
    if not runs:
        return []
    context = multiprocessing.get_context("fork")
    said, taken = context.Queue(), context.Value("i", 0)
    failures = []
    job = _Job(runs, taken, said, results, place)
    with _workers(min(place.jobs, len(runs)), context, job) as workers:
        done = 0
        for word in _words(said, workers, len(runs)):
            if word.run is None:
                progress(word.text)
                continue
            done += 1
            progress(f"{done} of {len(runs)}: {word.run.key}{f': {word.reason}' if word.reason else ''}")
            if word.reason:
                failures.append(Failure(word.run, word.reason))
    return failures


@contextmanager
def _workers(number: int, context: Any, job: "_Job") -> Iterator[list[BaseProcess]]:
    workers = [context.Process(target=_work, args=(index, job), daemon=True) for index in range(number)]
    for worker in workers:
        worker.start()
    try:
        yield workers
    finally:
        for worker in workers:
            if worker.is_alive():  # told to stop, it leaves no machine behind
                os.kill(worker.pid, signal.SIGINT)
        for worker in workers:
            worker.join(_STOP_LIMIT_S)
            worker.kill()


def _words(said: Any, workers: list[BaseProcess], runs: int) -> Iterator[_Said]:
    """What the workers say, until all runs are done."""
    done = 0
    while done < runs:
        try:
            word: _Said = said.get(timeout=_POLL_S)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                raise MachineError("nobody is left to make the runs; what is done stays done") from None
            continue
        done += word.run is not None
        yield word


def _work(number: int, job: "_Job") -> None:
    """In a worker: make runs until there are none left."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def progress(text: str) -> None:
        if number == 0:  # the others' machines boot in the same way
            job.said.put(_Said(text))

    try:
        with open_backend(job.place.where, job.place.clock, progress) as backend:
            for run in _next_ones(job.runs, job.taken):
                job.said.put(_Said("", run, _make_one(backend, run, job.results)))
    except KeyboardInterrupt:
        return
    except MachineError as error:
        job.said.put(_Said(f"a machine is gone: {error}"))


def _next_ones(runs: Sequence[Planned], taken: Any) -> Iterator[Planned]:
    while True:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= len(runs):
            return
        yield runs[number]


def _make_one(backend: Backend, run: Planned, results: Results) -> str | None:
    """Why the run cannot be trusted, in one line; None when it can."""
    try:
        handover = backend.run(results.scenario(run), lambda _: None, results.prepare(run))
        results.store(run, handover)
    except RUN_FAILURES as error:
        return str(error)
    return None
