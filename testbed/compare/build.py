"""The comparison as one object: what was measured, and what follows from it."""

import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata

from testbed.compare import table1
from testbed.compare.document import SCHEMA, Document, Environment, FigureSeen, Run, Skipped, Sweep
from testbed.compare.figures import decomposition_of, figure_of
from testbed.compare.results import REPOSITORY

_LIBRARIES = ("scapy", "pyroute2", "msgspec", "virtme-ng")
_PROGRAMS = {
    "iperf3": ["iperf3", "--version"],
    "ping": ["ping", "-V"],
    "tcpdump": ["tcpdump", "--version"],
    "iproute2": ["ip", "-V"],
    "nftables": ["nft", "--version"],
    "qemu": ["qemu-system-x86_64", "--version"],
}
_VERSION = re.compile(r"\d+(?:\.\d+)+|\b\d{6,8}\b")  # iputils has dates


def document(command: str, sweep: Sweep, runs: Sequence[Run], skipped: Sequence[Skipped]) -> Document:
    figures = {(one.scheme, one.mode): one for run in runs if run.base and (one := figure_of(run))}
    figure13, figure14 = figures.pop(("pmipv6", "reactive"), None), figures.pop(("context-reflector", "reactive"), None)
    others: list[FigureSeen] = list(figures.values())
    return Document(
        schema=SCHEMA,
        command=command,
        environment=environment(runs),
        sweep=sweep,
        runs=list(runs),
        skipped=list(skipped),
        table1=table1.rows(runs),
        figure13=figure13,
        figure14=figure14,
        other_figures=others,
        drop_period=[decomposition_of(run) for run in runs if run.base],
    )


def environment(runs: Sequence[Run]) -> Environment:
    """Of the runs; what they do not say is of this machine."""
    first = runs[0].handover if runs else {}
    return Environment(
        kernel=str(first.get("kernel", platform.release())),
        backend=str(first.get("backend", "")),
        clock=str(first.get("clock", "")),
        commit=_commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _LIBRARIES},
            **{name: _said(argv) for name, argv in _PROGRAMS.items()},
        },
    )


def _commit() -> str:
    """Of the working tree, with a mark when there is more in it; "unknown" outside a repository."""
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} and uncommitted changes" if changes else head


def _said(argv: Sequence[str]) -> str:
    """The version that a program says it has."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"
