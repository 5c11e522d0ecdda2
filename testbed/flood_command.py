"""`testbed flood`."""

import functools
from typing import Any

import click

from testbed.console import one_clear_line
from testbed.doctor import native_ok
from testbed.flood import measure
from testbed.table import table
from testbed.vm.qemu import VirtualMachine


@click.command()
@click.option("--count", type=click.IntRange(2), default=20, show_default=True, help="handovers for each flood")
@click.option("--native", "where", flag_value="native", help="on this kernel, whatever it lacks")
@click.option("--in-vm", "where", flag_value="vm", help="in a virtual machine")
def flood(count: int, where: str | None) -> None:
    """How long a registration takes while somebody else floods the anchor."""
    say = functools.partial(click.echo, err=True)
    with one_clear_line():
        if (where or ("native" if native_ok() else "vm")) == "native":
            rows = measure(count, say)
        else:
            with VirtualMachine("real", say) as machine:
                rows = machine.call("testbed.flood:measure", {"handovers": count}, progress=say)
    click.echo(render(rows))


def render(rows: list[dict[str, Any]]) -> str:
    header = ["flood", "sent/s", "read", "kernel dropped", "registrations", "median ms", "longest ms"]
    return table(header, [[str(value) for value in row.values()] for row in rows])
