"""`testbed compare`: every scheme, one parameter varied at a time, Table 1 and Figures 13 and 14 measured."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from common.schemes import SCHEMES
from testbed.compare.document import Point, Sweep
from testbed.compare.sweep import MODES, plan
from testbed.console import Values, progress_on_stderr
from testbed.doctor import native_ok
from testbed.vm.machine import MachineError

_DIRECTORY = Path("comparison")
_JSON = "compare.json"


def _list(name: str, field: str, kind: Values, default: str, what: str) -> Callable[[Any], Any]:
    return click.option(name, field, type=kind, default=default, show_default=True, help=what)


@click.command()
@_list("--schemes", "schemes", Values(str, among=tuple(SCHEMES)), ",".join(SCHEMES), "to compare")
@_list("--modes", "modes", Values(str, among=MODES), ",".join(MODES), "at the base point; others: the first of them")
@_list("--rtt", "rtt_ms", Values(float, 0), "1,10,50,200", "MAG-LMA, ms, both ways")
@_list("--l2", "l2_ms", Values(float, 0), "10,50,200", "L2 handover time, ms")
@_list("--rate", "rate_pps", Values(float, 1), "50,200,1000", "packets/s, each way")
@_list("--context-size", "context_bytes", Values(int, 0), "0,64,1024,8000", "opaque octets that travel with the MN")
@click.option("--base-count", type=click.IntRange(1), default=20, show_default=True, help="handovers at the base point")
@click.option("--count", type=click.IntRange(1), default=3, show_default=True, help="handovers at every other point")
@click.option("--seed", type=int, default=0, show_default=True, help="of the random path, with more than two MAGs")
@click.option("--mags", type=click.IntRange(2, 64), default=2, show_default=True, help="access routers")
@click.option("--mns", type=click.IntRange(1, 200), default=1, show_default=True, help="mobile nodes, all move at once")
@click.option(
    "--packet-size", type=click.IntRange(32, 1400), default=200, show_default=True, help="UDP payload, octets"
)
@click.option("--clock", type=click.Choice(["real", "virtual"]), help="[default: virtual]")
@click.option("--native", "where", flag_value="native", help="on this kernel, with the real clock")
@click.option("--in-vm", "where", flag_value="vm", help="in virtual machines")
@click.option(
    "--jobs", type=click.IntRange(1, 16), help="virtual machines at a time  [default: one a processor, up to 2]"
)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="where the figures go; the "
              f"runs lie beside it  [default: {_DIRECTORY}/{_JSON}]")  # fmt: skip
@click.option("--report", "report", type=click.Path(path_type=Path, file_okay=False), help="make a page of it there")
def compare(
    where: Literal["native", "vm"] | None,
    clock: Literal["real", "virtual"] | None,
    jobs: int | None,
    json_path: Path | None,
    report: Path | None,
    **asked: Any,
) -> None:
    """Compare the handover schemes: Table 1 and Figures 13 and 14 of the paper, measured.

    One parameter at a time is varied around a base point: 10 ms RTT, 50 ms L2, 200 packets/s and 64 octets of context
    where the lists have these, else the first of each. What has been measured stays beside the JSON: broken off and
    called again, it goes on where it stopped.
    """
    from testbed.compare import build, console, results, runner  # noqa: PLC0415 - take their time to load

    sweep = _sweep(asked)
    clock = clock or ("real" if where == "native" else "virtual")
    if where == "native" and clock == "virtual":
        raise click.UsageError("the virtual clock exists in the virtual machine only: --in-vm")
    where = where or ("native" if clock == "real" and native_ok() else "vm")
    json_path = json_path or (report or _DIRECTORY) / _JSON
    progress = progress_on_stderr()
    runs, skipped = plan(sweep)
    kept = results.Results(json_path.parent, sweep, f"{where}, {clock} clock, code {results.code_version()}")
    missing = [run for run in runs if kept.load(run) is None]
    if len(missing) < len(runs):
        progress(f"{len(runs) - len(missing)} of {len(runs)} runs are there already")
    try:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        place = runner.Place(where, clock, runner.jobs_for(where, clock, jobs))
        failures = runner.make(missing, kept, place, progress)
    except MachineError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    done = [run for one in runs if (run := kept.load(one)) is not None]
    document = build.document(_command_line(), sweep, done, skipped)
    partial = json_path.with_name(json_path.name + ".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    partial.replace(json_path)
    click.echo(console.render(document))
    click.echo(f"Everything is in {json_path}.")
    if report:
        from testbed.report.command import write  # noqa: PLC0415

        click.echo(f"The page is {write(json_path, report, progress)}.")
    if failures:
        lines = [f"{failure.run.key}: {failure.reason}" for failure in failures]
        raise click.ClickException("not measured, so not in it:\n  " + "\n  ".join(lines))


def _sweep(asked: dict[str, Any]) -> Sweep:
    """What was asked for, around the defaults where they are in the lists."""
    usual = Point()
    fields = {"rtt_ms", "l2_ms", "rate_pps", "context_bytes"}
    base = {name: value if (value := getattr(usual, name)) in asked[name] else asked[name][0] for name in fields}
    return Sweep(base=Point(mode=asked["modes"][0], **base), **asked)


def _command_line() -> str:
    return shlex.join([Path(sys.argv[0]).name if os.access(sys.argv[0], os.X_OK) else "testbed", *sys.argv[1:]])
