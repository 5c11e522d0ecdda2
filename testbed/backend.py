"""Where a run happens: natively when this kernel has what it takes, else in the virtual machine."""

import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from testbed.doctor import native_ok
from testbed.lab.node import LabError
from testbed.measurement.measure import measure
from testbed.measurement.pcap import CaptureError
from testbed.run import measured_run
from testbed.run.run_directory import MeasurementError
from testbed.vm.machine import GuestError
from testbed.vm.qemu import VirtualMachine

Progress = Callable[[str], None]
Clock = Literal["real", "virtual"]
GUEST_RUN_DIRECTORY = "/run/context-reflector-run"
# Why a run could not be made or cannot be trusted, after which the backend is good for others.
RUN_FAILURES = (LabError, GuestError, MeasurementError, CaptureError)


class Backend(Protocol):
    """Makes measured runs, as many as one likes."""

    name: str
    clock: Clock

    def run(self, spec: Mapping[str, Any], progress: Progress, keep: Path | None = None) -> dict[str, Any]:
        """One run's JSON object (`handover.schema.json`); `keep` is where its captures and journals stay."""

    def call(self, function: str, arguments: dict[str, Any], progress: Progress) -> Any:
        """The result of `module:function(**arguments, progress=...)` there, as JSON leaves it."""


class Native:
    """This kernel."""

    name = "native"
    clock: Clock = "real"

    def run(self, spec: Mapping[str, Any], progress: Progress, keep: Path | None = None) -> dict[str, Any]:
        with _run_directory(keep) as directory:
            measured_run.run({**spec, "clock": self.clock}, directory, progress, self.name, keep is not None)
            return measure(directory)

    def call(self, function: str, arguments: dict[str, Any], progress: Progress) -> Any:
        module, _, name = function.partition(":")
        return getattr(importlib.import_module(module), name)(**arguments, progress=progress)


class InVm:
    """A virtual machine that is up; the run is measured on the host."""

    name = "vm"

    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine
        self.clock: Clock = machine.clock

    def run(self, spec: Mapping[str, Any], progress: Progress, keep: Path | None = None) -> dict[str, Any]:
        arguments = {
            "spec": {**spec, "clock": self.clock},
            "directory": GUEST_RUN_DIRECTORY,
            "backend": self.name,
            "whole_captures": keep is not None,
        }
        try:
            self._machine.call("testbed.run.measured_run:run", arguments, progress=progress)
            with _run_directory(keep) as directory:
                self._machine.pull(GUEST_RUN_DIRECTORY, directory)
                return measure(directory)
        finally:
            self._machine.run(["rm", "-rf", GUEST_RUN_DIRECTORY])

    def call(self, function: str, arguments: dict[str, Any], progress: Progress) -> Any:
        return self._machine.call(function, arguments, progress=progress)


@contextmanager
def open_backend(where: str | None, clock: Clock | None, progress: Progress) -> Iterator[Backend]:
    """`where` is "native", "vm" or None for what this machine can; the default clock is real natively, else virtual."""
    if where is None:
        where = "native" if native_ok() and clock != "virtual" else "vm"
    if where == "native":
        progress("running natively")
        yield Native()
        return
    with VirtualMachine(clock or "virtual", progress) as machine:
        yield InVm(machine)


@contextmanager
def _run_directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="context-reflector-run-") as directory:
        yield Path(directory)
