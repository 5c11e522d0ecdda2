"""What the commands of `testbed` have in common at a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from testbed.backend import RUN_FAILURES
from testbed.run.scenario import ImpossibleRun
from testbed.vm.machine import MachineError


class Values(click.ParamType[list[Any]]):
    """Values with commas between them, each once."""

    name = "a,b,…"

    def __init__(self, of: Callable[[str], Any], least: float | None = None, among: tuple[str, ...] = ()) -> None:
        self._of = of
        self._least = least
        self._among = among

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        if isinstance(value, list):
            return value
        try:
            values = [self._of(part.strip()) for part in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers with commas between them", param, ctx)
        for one in values:
            if self._among and one not in self._among:
                self.fail(f"{one!r} is none of {', '.join(self._among)}", param, ctx)
            if self._least is not None and not float(one) >= self._least:
                self.fail(f"{one} is below {self._least:g}", param, ctx)
        return list(dict.fromkeys(values))


def progress_on_stderr() -> Callable[[str], None]:
    """Lines on standard error, each with the seconds since now."""
    start = time.monotonic()
    return lambda text: click.echo(f"[{time.monotonic() - start:6.1f} s] {text}", err=True)


@contextmanager
def one_clear_line() -> Iterator[None]:
    """What went wrong with a lab or a measurement, on standard error; exit status 1, or 2 for what cannot be."""
    try:
        yield
    except (*RUN_FAILURES, MachineError) as error:
        click.echo(f"testbed: {error}", err=True)
        sys.exit(2 if isinstance(error, ImpossibleRun) else 1)
