"""Messages by the thousand against a daemon's receive path: decode, core, and what the core asks for.

Nothing may come out but what has a name: a message is accepted, refused, ignored or no message, each counted once.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from common.events import Kind
from common.mh.codec import decode
from common.schemes import SCHEMES
from testbed.fuzz import targets
from testbed.fuzz.mutation import Messages, Mutator, whole

TOGETHER = 64  # messages that arrive at once
COPIES = 4  # of a message: one whole, the others bent, each in its own way
PORTION = 50_000  # messages of one seed, one process
NOT_A_MESSAGE = ("malformed-", "unknown-mh-type")
TARGETS = {"lmad": targets.lmad, "magd": targets.magd}


class FuzzError(Exception):
    """A daemon would have died, or lost count; the text says of what."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the messages of one target, by name, and how many entries it is left with."""

    target: str
    messages: int
    outcomes: dict[str, int]
    reasons: dict[str, int]
    answers: int
    entries: int
    took_s: float


def run(daemon: str, scheme: str, count: int, seed: int) -> Outcome:
    """`count` messages for one daemon under one scheme; the seed fixes them. Raises FuzzError."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return asyncio.run(_run(daemon, scheme, count, seed))
    finally:
        logging.disable(disabled)


def run_all(count: int, seed: int) -> Iterator[Outcome]:
    """`count` messages for each daemon, over all schemes, on all processors. Raises FuzzError."""
    jobs = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        for daemon in TARGETS:
            for scheme, share in zip(SCHEMES, _shares(count, len(SCHEMES)), strict=True):
                portions = _shares(share, -(-share // PORTION))
                jobs += [
                    processes.submit(run, daemon, scheme, portion, seed + number)
                    for number, portion in enumerate(portions)
                ]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            raise


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (number < count % parts) for number in range(parts)]


async def _run(daemon: str, scheme: str, count: int, seed: int) -> Outcome:
    chance = random.Random(f"{seed} {daemon} {scheme}")
    target = TARGETS[daemon](chance, scheme)
    messages, mutator = Messages(chance, target.world), Mutator(chance)
    started = time.monotonic()
    sent = 0
    while sent < count:
        arriving = _arriving(chance, target, messages, mutator)[: count - sent]
        target.octets.arrived.extend((data, (source, 0)) for source, data in arriving)
        sent += len(arriving)
        try:
            while target.octets.arrived:
                target.shell.receive(target.octets)  # type: ignore[arg-type]
            target.stir(time.monotonic())
        except Exception as error:
            octets = "\n".join(f"  {source} {data.hex()}" for source, data in arriving)
            raise FuzzError(
                f"{target.name}: {type(error).__name__}: {error}\namong messages {sent - len(arriving)} to {sent} "
                f"of seed {seed}:\n{octets}"
            ) from error
        await asyncio.sleep(0)  # the shell's timers
    outcomes = Counter[str]()
    for (direction, _name, outcome), number in target.shell.effects.messages.items():
        if direction == "received":
            outcomes[outcome] += number
    reasons = {name: number for name, number in target.shell.effects.events.items() if name.startswith(NOT_A_MESSAGE)}
    if sum(outcomes.values()) + sum(reasons.values()) != sent:
        raise FuzzError(f"{target.name}: {sent} messages, but counted are {outcomes} and {reasons}")
    took_s = time.monotonic() - started
    return Outcome(
        target.name,
        sent,
        {kind.value: outcomes[kind.value] for kind in Kind} | {"no message": sum(reasons.values())},
        dict(sorted(reasons.items())),
        target.octets.sent,
        target.entries(),
        took_s,
    )


def _arriving(
    chance: random.Random, target: targets.Target, messages: Messages, mutator: Mutator
) -> list[tuple[str, bytes]]:
    """Sources and octets: answers to what the daemon has just sent, and words out of the blue, each whole and bent."""
    arriving = []
    for _ in range(TOGETHER // COPIES):
        if target.octets.latest and chance.random() < 0.4:
            data, source = chance.choice(target.octets.latest)
            message = whole(messages, decode(data))
        else:
            source, message = str(chance.choice(target.sources)), whole(messages)
        arriving.append((source, message))
        arriving += [(source, mutator.bend(message)) for _ in range(COPIES - 1)]
    chance.shuffle(arriving)
    return arriving
