"""`testbed fuzz`."""

import sys
import time
from collections import Counter

import click

from testbed.fuzz.run import FuzzError, run_all
from testbed.table import table


@click.command()
@click.option("--count", type=click.IntRange(1), default=1_000_000, show_default=True, help="messages for each daemon")
@click.option("--seed", type=int, default=0, show_default=True, help="fixes what they are")
def fuzz(count: int, seed: int) -> None:
    """Mutated messages of every type against each daemon's receive path, under every scheme.

    No socket and no kernel is involved. What is not accepted must be a refusal that has a name.
    """
    sums: dict[str, Counter[str]] = {}
    started = time.monotonic()
    try:
        for done in run_all(count, seed):
            figures = {"messages": done.messages, **done.outcomes, "answers": done.answers, "s": round(done.took_s)}
            sums.setdefault(done.target, Counter()).update(figures)
            click.echo(f"{done.target}: {done.messages} messages, {done.took_s:.0f} s", err=True)
    except FuzzError as error:
        click.echo(f"testbed: {error}", err=True)
        sys.exit(1)
    names = list(next(iter(sums.values())))
    rows = [[target, *(str(figures[name]) for name in names)] for target, figures in sorted(sums.items())]
    click.echo(table(["", *names], rows))
    click.echo(f"No exception and no message unaccounted for; {time.monotonic() - started:.0f} s in all.")
