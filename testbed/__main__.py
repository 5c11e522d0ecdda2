"""testbed: the lab on the command line."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from common.schemes import SCHEMES
from testbed import doctor as doctor_module
from testbed.backend import open_backend
from testbed.bench import figures as benchmarks
from testbed.compare.command import compare
from testbed.console import one_clear_line, progress_on_stderr
from testbed.flood_command import flood
from testbed.fuzz.command import fuzz
from testbed.lab import interactive
from testbed.matrix import matrix
from testbed.measurement import summary
from testbed.report.command import report
from testbed.run.scenario import Scenario
from testbed.tcp.stream import DEFAULT_MBPS
from testbed.watch.command import watch

_lab_option = click.option("--lab", default="lab", show_default=True, help="which one, if several are up")


@click.group()
def main() -> None:
    """A Proxy Mobile IPv6 domain to try and to measure, in network namespaces."""


@main.command()
def doctor() -> None:
    """What this machine can run natively, what needs the virtual machine, and why."""
    checks = doctor_module.checks()
    click.echo(doctor_module.render(checks))
    sys.exit(0 if doctor_module.usable(checks) else 1)


@main.command()
@click.option("--scheme", type=click.Choice(list(SCHEMES)), required=True, help="how a handover is done")
@click.option("--mode", type=click.Choice(["reactive", "predictive"]), default="reactive", show_default=True)
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="handovers")
@click.option(
    "--rtt", "rtt_ms", type=click.FloatRange(0), default=10.0, show_default=True, help="MAG-LMA, ms, both ways"
)
@click.option("--l2", "l2_ms", type=click.FloatRange(0), default=50.0, show_default=True, help="L2 handover time, ms")
@click.option("--rate", "rate_pps", type=click.FloatRange(1), default=200.0, show_default=True, help="packets/s")
@click.option(
    "--packet-size", type=click.IntRange(32, 1400), default=200, show_default=True, help="UDP payload, octets"
)
@click.option(
    "--tcp",
    "tcp_mbps",
    is_flag=False,
    flag_value=DEFAULT_MBPS,
    type=click.FloatRange(0.1, 100),
    help=f"iperf3 by TCP each way too: Mbit/s, {DEFAULT_MBPS:g} if none are given",
)
@click.option("--mags", type=click.IntRange(2, 64), default=2, show_default=True, help="access routers")
@click.option("--mns", type=click.IntRange(1, 200), default=1, show_default=True, help="mobile nodes, all move at once")
@click.option("--prefixes", type=click.IntRange(1, 8), default=1, show_default=True, help="of each mobile node")
@click.option("--fixed", type=click.IntRange(0), default=0, show_default=True, help="MNs with prefixes of their own")
@click.option("--path", default="", help="MAGs to visit: mag1,mag2,…  [default: random by --seed]")
@click.option("--seed", type=int, default=0, show_default=True, help="of the random path")
@click.option("--clock", type=click.Choice(["real", "virtual"]), help="[default: real natively, virtual in the VM]")
@click.option("--impair", default="", help="signalling only: loss=10%,duplicate=5%,reorder=5%")
@click.option(
    "--downlink",
    type=click.Choice(["hold", "forward"]),
    default="hold",
    show_default=True,
    help="context-reflector: who keeps the downlink, the LMA or the nMAG",
)
@click.option(
    "--order",
    type=click.Choice(["strict", "fast"]),
    default="strict",
    show_default=True,
    help="context-reflector: whether the LMA waits for what the pMAG gives back",
)
@click.option(
    "--context-size",
    "context_octets",
    type=click.IntRange(0, 16000),
    default=64,
    show_default=True,
    help="context-reflector: opaque octets that travel with each MN",
)
@click.option("--native", "where", flag_value="native", help="on this kernel, whatever it lacks")
@click.option("--in-vm", "where", flag_value="vm", help="in the virtual machine")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="write the figures; - is standard output")
@click.option("--capture", type=click.Path(path_type=Path, file_okay=False), help="keep captures and journals here")
def handover(
    where: str | None, clock: Any, json_path: Path | None, capture: Path | None, path: str, **options: Any
) -> None:
    """Hand mobile nodes over, with ping and iperf3 running, and measure it on captured packets."""
    spec = {**options, "path": [mag for mag in path.split(",") if mag]}
    with one_clear_line():
        Scenario.of(spec).lab_spec()  # what is wrong with the options is said before anything is started
        if where == "native" and clock == "virtual":
            raise click.UsageError("the virtual clock exists in the virtual machine only: --in-vm")
        progress = progress_on_stderr()
        with open_backend(where, clock, progress) as backend:
            result = backend.run(spec, progress, capture)
    if json_path is None or str(json_path) != "-":
        click.echo(summary.render(result))
    if json_path:
        _write(json_path, json.dumps(result, indent=1) + "\n")


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(benchmarks.BENCHMARKS)))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="write the figures; - is standard output")
def bench(names: tuple[str, ...], json_path: Path | None) -> None:
    """Measure what needs no handover: NAMES, or everything."""
    rows = benchmarks.measure(names, progress_on_stderr())
    if json_path is None or str(json_path) != "-":
        click.echo(benchmarks.render(rows))
    if json_path:
        _write(json_path, json.dumps(benchmarks.as_json(rows), indent=1) + "\n")


@main.command()
@click.option("--native", "where", flag_value="native", help="on this kernel, whatever it lacks")
@click.option("--in-vm", "where", flag_value="vm", help="in a virtual machine that stays up")
@click.option("--mags", type=click.IntRange(2, 64), default=2, show_default=True, help="access routers")
@click.option("--mns", type=click.IntRange(1, 200), default=1, show_default=True, help="mobile nodes")
@click.option("--scheme", type=click.Choice(list(SCHEMES)), default="pmipv6", show_default=True)
@click.option(
    "--rtt", "rtt_ms", type=click.FloatRange(0), default=10.0, show_default=True, help="MAG-LMA, ms, both ways"
)
@_lab_option
def up(where: str | None, rtt_ms: float, lab: str, **spec: Any) -> None:
    """Bring up a lab to play with; it stays until `testbed down`."""
    with one_clear_line():
        where = where or ("native" if doctor_module.native_ok() else "vm")
        interactive.start(lab, {**spec, "rtt_s": rtt_ms / 1000}, where, progress_on_stderr())
    click.echo(
        f"Lab {lab} is up. Try:\n"
        "  testbed shell mn        ping $CN\n"
        "  testbed shell lma       lmactl show bindings; tcpdump -ni any ip6 proto 135\n"
        "  testbed move mn mag2\n"
        "  testbed down"
    )


@main.command()
@click.argument("node")
@_lab_option
def shell(node: str, lab: str) -> None:
    """A prompt in NODE: lma, mag1, mag2, …, mn, cn or inet."""
    with one_clear_line():
        sys.exit(interactive.find(lab).shell(node))


@main.command()
@click.argument("mn")
@click.argument("mag")
@click.option("--l2", "l2_ms", type=click.FloatRange(0), default=50.0, show_default=True, help="L2 handover time, ms")
@_lab_option
def move(mn: str, mag: str, l2_ms: float, lab: str) -> None:
    """Move MN to the link of MAG."""
    with one_clear_line():
        interactive.find(lab).move(mn, mag, l2_ms / 1000)


@main.command()
@_lab_option
def down(lab: str) -> None:
    """End the lab; nothing of it stays."""
    with one_clear_line():
        interactive.find(lab).down()


main.add_command(compare)
main.add_command(flood)
main.add_command(fuzz)
main.add_command(matrix)
main.add_command(report)
main.add_command(watch)


def _write(path: Path, text: str) -> None:
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error


if __name__ == "__main__":
    main()
