"""The lab that stays up for a person: started, entered, moved in and ended by commands of their own.

It runs natively or in a virtual machine that stays up (`keeper.py`). `up`, `shell` and `move` do the same in both
places: in the guest they are run through the machine's `call`.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from testbed.lab.lab import Lab
from testbed.lab.node import LabError
from testbed.lab.visit import LabSpec, Visit
from testbed.vm import keeper, terminal
from testbed.vm.machine import Machine

Progress = Callable[[str], Any]


class LabThere(Protocol):
    """A lab that is up, wherever."""

    def shell(self, node: str) -> int: ...
    def move(self, mn: str, mag: str, l2_s: float) -> None: ...
    def down(self) -> None: ...


def start(name: str, spec: Mapping[str, Any], where: str, progress: Progress) -> None:
    """Bring a lab up that outlives this process; every MN is attached to mag1 and has service. Raises LabError."""
    if where == "native":
        up(name, spec, progress)
        return
    with keeper.start(name, "real", progress) as machine:
        try:
            machine.call("testbed.lab.interactive:up", {"name": name, "spec": dict(spec)}, progress=progress)
        except BaseException:
            keeper.stop(name)
            raise


def find(name: str) -> LabThere:
    """The lab of that name, in its virtual machine or here. Raises LabError when there is none."""
    if keeper.running(name):
        return _LabInVm(name, keeper.attach(name))
    return _LabHere(name)


class _LabHere:
    def __init__(self, name: str) -> None:
        self._visit = Visit(name)

    def shell(self, node: str) -> int:
        argv, environment = self._visit.shell(node)
        os.execvpe(argv[0], argv, environment)

    def move(self, mn: str, mag: str, l2_s: float) -> None:
        self._visit.move(mn, mag, l2_s)

    def down(self) -> None:
        self._visit.down()


class _LabInVm:
    def __init__(self, name: str, machine: Machine) -> None:
        self._name = name
        self._machine = machine

    def shell(self, node: str) -> int:
        argv, environment = self._machine.call("testbed.lab.interactive:shell", {"name": self._name, "node": node})
        return terminal.shell(self._machine, argv, environment=environment)

    def move(self, mn: str, mag: str, l2_s: float) -> None:
        self._machine.call("testbed.lab.interactive:move", {"name": self._name, "mn": mn, "mag": mag, "l2_s": l2_s})

    def down(self) -> None:
        self._machine.close()
        keeper.stop(self._name)


# What runs on the kernel that the lab is on.


def up(name: str, spec: Mapping[str, Any], progress: Progress) -> None:
    """Fork the process that keeps the lab; return when it is ready. Raises LabError with its one line if it fails."""
    ready_read, ready_write = os.pipe()
    sys.stdout.flush()
    if os.fork() == 0:
        os.close(ready_read)
        _keep(name, spec, ready_write)
    os.close(ready_write)
    progress("bringing the lab up")
    with os.fdopen(ready_read) as ready:
        word = ready.read().strip()
    if word != "ready":
        raise LabError(word or "the lab's process ended without a word")


def shell(name: str, node: str, progress: Progress) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a shell in that node."""
    return Visit(name).shell(node)


def move(name: str, mn: str, mag: str, l2_s: float, progress: Progress) -> None:
    Visit(name).move(mn, mag, l2_s)


def _keep(name: str, spec: Mapping[str, Any], ready: int) -> None:
    """The rest of a child's life: a session of its own, no terminal, one word to the parent when all is there."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = 0
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        with Lab(LabSpec(**spec), name) as lab:
            first = lab.topology.mags[0]
            lab.network.air.attach({mn.name: first for mn in lab.topology.mns})
            for mn in lab.topology.mns:
                lab.wait_for_service(mn.name)
            os.write(ready, b"ready")
            os.close(ready)
            lab.wait()
    except (LabError, OSError) as error:
        with suppress(OSError):  # the parent has gone, or has had its word
            os.write(ready, str(error).encode())
        status = 1
    except SystemExit:
        pass
    finally:
        os._exit(status)
