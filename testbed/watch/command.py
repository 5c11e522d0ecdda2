"""`testbed watch`: measure a handover and look at it, slowly."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from common.schemes import SCHEMES
from testbed.backend import Clock, open_backend
from testbed.console import one_clear_line
from testbed.run.scenario import Scenario

_BOX = (100, 30)


@click.command()
@click.option("--scheme", type=click.Choice(SCHEMES), default="context-reflector", show_default=True)
@click.option("--mode", type=click.Choice(["reactive", "predictive"]), default="reactive", show_default=True)
@click.option(
    "--rtt", "rtt_ms", type=click.FloatRange(0), default=10.0, show_default=True, help="MAG-LMA, ms, both ways"
)
@click.option("--l2", "l2_ms", type=click.FloatRange(0), default=50.0, show_default=True, help="L2 handover time, ms")
@click.option("--rate", "rate_pps", type=click.FloatRange(1), default=200.0, show_default=True, help="packets/s")
@click.option("--impair", default="", help="signalling only: loss=10%,duplicate=5%,reorder=5%")
@click.option("--clock", type=click.Choice(["real", "virtual"]), help="[default: real natively, virtual in the VM]")
@click.option("--native", "where", flag_value="native", help="on this kernel, whatever it lacks")
@click.option("--in-vm", "where", flag_value="vm", help="in the virtual machine")
@click.option(
    "--from",
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="a run that `testbed handover --capture` or `compare` kept, instead of measuring one",
)
@click.option("--handover", "index", type=click.IntRange(0), default=0, show_default=True, help="which of --from")
@click.option("--slow", type=click.FloatRange(1, 3200), default=150.0, show_default=True, help="times slower than real")
@click.option("--at", "at_ms", type=float, multiple=True, help="print the picture of this moment, ms, and end")
def watch(
    directory: Path | None, index: int, slow: float, at_ms: tuple[float, ...], where: str | None, **options: Any
) -> None:
    """Look at a handover in slow motion: nodes, messages as they fly, bindings, packets held and lost.

    It is measured first, in the virtual machine if need be; what is shown is what its captures saw. Without a terminal
    the pictures of all its events are printed.
    """
    from rich.console import Console  # noqa: PLC0415 - only needed here

    from testbed.watch import frame, player, recording  # noqa: PLC0415 - the same

    console = Console()
    if console.is_terminal and not at_ms and not player.fits(console):
        raise click.ClickException(f"this terminal is too small: make it {_BOX[0]} columns and {_BOX[1]} rows at least")
    with one_clear_line(), _run(directory, where, options, lambda text: click.echo(text, err=True)) as kept:
        seen = recording.load(kept, index if directory else 0)
    if at_ms or not console.is_terminal:
        moments_us = [one * 1000 for one in at_ms] or frame.key_moments(seen)
        player.print_moments(seen, moments_us, console)
    else:
        player.play(seen, slow, console)


@contextmanager
def _run(
    directory: Path | None, where: str | None, options: dict[str, Any], progress: Callable[[str], Any]
) -> Iterator[Path]:
    """A run directory: the one given, or that of one handover measured now."""
    if directory:
        yield directory
        return
    clock: Clock | None = options.pop("clock")
    spec = {**options, "count": 1}
    Scenario.of(spec).lab_spec()  # what is wrong with the options is said before anything is started
    with tempfile.TemporaryDirectory(prefix="context-reflector-watch-") as temporary:
        kept = Path(temporary)
        with open_backend(where, clock, progress) as backend:
            backend.run(spec, progress, kept)
        yield kept
