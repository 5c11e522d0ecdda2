"""`testbed matrix`: one scheme in every combination of what a handover can meet, and whether it lost anything.

Where `testbed compare` varies one parameter at a time, this is the full product, for what a scheme promises holds for
all of it. A run is a line of a JSON file as soon as it is made, so that one broken off goes on where it stopped.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click

from common.schemes import SCHEMES
from testbed.backend import RUN_FAILURES, Backend, open_backend
from testbed.compare.results import code_version
from testbed.compare.sweep import MODES
from testbed.console import Values, progress_on_stderr
from testbed.measurement.observations import DIRECTIONS
from testbed.table import table
from testbed.vm.machine import MachineError

Spec = dict[str, Any]
_FAULTS = ("lost", "duplicated", "reordered")
_SLACK_MS = 2.0  # what a handover may take beyond L2 and signalling, computing aside


@click.command()
@click.option("--scheme", type=click.Choice(list(SCHEMES)), default="context-reflector", show_default=True)
@click.option("--modes", type=Values(str, among=MODES), default=",".join(MODES), show_default=True)
@click.option("--downlink", type=Values(str, among=("hold", "forward")), default="hold,forward", show_default=True)
@click.option("--rtt", type=Values(float, 0), default="1,10,50,200", show_default=True, help="MAG-LMA, ms, both ways")
@click.option("--l2", type=Values(float, 0), default="10,50,500", show_default=True, help="L2 handover time, ms")
@click.option("--rate", type=Values(float, 1), default="50,500,2000", show_default=True, help="packets/s, each way")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="handovers in each combination")
@click.option("--native", "where", flag_value="native", help="on this kernel, with the real clock")
@click.option("--in-vm", "where", flag_value="vm", help="in a virtual machine")
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), default="matrix.jsonl",
              show_default=True, help="a line for each run; what is in it is not run again")  # fmt: skip
def matrix(
    *,
    scheme: str,
    modes: list[str],
    downlink: list[str],
    rtt: list[float],
    l2: list[float],
    rate: list[float],
    count: int,
    where: Literal["native", "vm"] | None,
    path: Path,
) -> None:
    """Hand over in every combination, and say what was lost, doubled or out of order and how long the silence was.

    Exits with 1 when anything was lost by the network, doubled or reordered.
    """
    progress = progress_on_stderr()
    specs = [
        {"scheme": scheme, "mode": m, "downlink": d, "rtt_ms": r, "l2_ms": t, "rate_pps": p, "count": count}
        for r, t, p, m, d in itertools.product(rtt, l2, rate, modes, downlink)
        if m == "reactive" or SCHEMES[scheme].predictive
    ]
    code = code_version()
    done = _there(path, code)
    missing = [spec for spec in specs if _key(spec) not in done]
    progress(f"{len(specs)} combinations, {len(specs) - len(missing)} of them made already")
    failures = []
    try:
        if missing:
            with open_backend(where, None, progress) as backend, path.open("a") as file:
                for number, (spec, result) in enumerate(_made(backend, missing), 1):
                    if isinstance(result, str):
                        failures.append(f"{_key(spec)}: {result}")
                    else:
                        done[_key(spec)] = result
                        file.write(json.dumps({"code": code, "spec": spec, "result": result}) + "\n")
                        file.flush()
                    progress(f"{number} of {len(missing)}: {_key(spec)}")
    except (MachineError, OSError) as error:
        raise click.ClickException(str(error)) from error
    results = [(spec, done[_key(spec)]) for spec in specs if _key(spec) in done]
    click.echo(render(results))
    if failures:
        raise click.ClickException("not measured:\n  " + "\n  ".join(failures))
    sys.exit(any(sum(_faults(result)) for _, result in results))


def _made(backend: Backend, specs: list[Spec]) -> Iterator[tuple[Spec, Spec | str]]:
    """Each with its result, or with the reason why there is none."""
    for spec in specs:
        try:
            whole = backend.run(spec, lambda _: None)
        except RUN_FAILURES as error:
            yield spec, str(error)
        else:
            for handover in whole["handovers"]:  # the long part, of which nothing is asked here
                del handover["timeline"]
            yield spec, whole


def _there(path: Path, code: str) -> dict[str, Spec]:
    """What this very code has measured before."""
    if not path.exists():
        return {}
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {_key(line["spec"]): line["result"] for line in lines if line["code"] == code}


def _key(spec: Spec) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in spec.items())


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def render(results: list[tuple[Spec, Spec]]) -> str:
    """A row for each combination; the sums. The bound is what no handover can be faster than, `_SLACK_MS` and the
    interval between two packets; what was `computed`, slowly in a machine that is emulated, comes on top."""
    header = [*("RTT", "L2", "packets/s", "mode", "downlink"), "sent", *_FAULTS, "on air"]
    header += ["gap ms", "bound", "computed", "within"]
    rows = []
    for spec, result in results:
        handovers = result["handovers"]
        ways = [handover[to] for handover in handovers for to in DIRECTIONS]
        gap_ms = max(handover["downlink"]["gap_ms"] for handover in handovers)
        computed_ms = max(_computed_ms(handover, spec["rtt_ms"] / 2) for handover in handovers)
        bound_ms = _waited_ms(spec) + _SLACK_MS + 1000 / spec["rate_pps"]
        counts = [sum(way["sent"] for way in ways), *_faults(result), sum(way["lost_on_air"] for way in ways)]
        times = [f"{value:.2f}" for value in (gap_ms, bound_ms, computed_ms)]
        where = [_short(spec[name]) for name in ("rtt_ms", "l2_ms", "rate_pps", "mode", "downlink")]
        rows.append([*where, *map(str, counts), *times, "yes" if gap_ms <= bound_ms + computed_ms else "no"])
    sums = [sum(column) for column in zip(*(_faults(result) for _, result in results), strict=True)]
    total = ", ".join(f"{number} {name}" for number, name in zip(sums, _FAULTS, strict=True))
    return f"{table(header, rows)}\n\n{len(results)} combinations, both ways, in handovers and outside: {total}"


def _waited_ms(spec: Spec) -> float:
    """What a handover waits for whoever computes it. What is forwarded waits for the word that nothing comes any more
    which the old MAG gives back: by way of the anchor, a round trip."""
    rtt_ms, l2_ms = float(spec["rtt_ms"]), float(spec["l2_ms"])
    return l2_ms + rtt_ms if spec["downlink"] == "hold" else max(l2_ms, rtt_ms)


def _computed_ms(handover: Spec, way_ms: float) -> float:
    """The processing phases, and what the new MAG does with a context before it has a place for packets."""
    moments_us = handover["phase_t_us"]
    context_ms = (moments_us["f"] - moments_us["e"]) / 1000 - way_ms if "CR" in handover["bytes_signalled"] else 0
    return float(sum(handover["processing"].values()) / 1000 + context_ms)


def _faults(result: Spec) -> list[int]:
    """Packets lost, duplicated, reordered, both ways, in handovers and outside."""
    places = [*result["handovers"], result["outside_handovers"]]
    return [sum(place[to][fault] for place in places for to in DIRECTIONS) for fault in _FAULTS]
