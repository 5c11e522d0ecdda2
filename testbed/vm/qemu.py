"""A virtual machine with Debian's kernel: booted by QEMU, laid out by virtme-ng, served by the agent in `guest.py`.

virtme-ng says how QEMU is to be called so that the host's root directory is the guest's (shared by 9p, read-only, with
overlays in the guest's memory); QEMU then runs as our own child. Nothing of it lives in the file system: its ports are
socket pairs and pipes, its initramfs is an unnamed file. So whatever ends the host process (even SIGKILL, through
PR_SET_PDEATHSIG) ends the machine and leaves nothing behind.

Clocks: "real" takes two processors and KVM where that works. "virtual" takes one, always emulated, and counts
instructions: one is one nanosecond, sleeping takes no real time, what the host does meanwhile does not show. An idle
guest with this clock races through its timers, so QEMU is stopped while nothing runs in it, and until it is the agent
does not sleep.

What the host writes after the boot is seen by processes started later, for the guest's 9p keeps nothing in memory;
but the agent's own modules, which every call runs, are those of the boot.
"""

import collections
import compileall
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from testbed.vm import memory_image
from testbed.vm.command import REPOSITORY, Clock, Plan, kernel_image, qemu_command, version
from testbed.vm.frames import AGENT_CHANNEL, Decoder
from testbed.vm.kvm import kvm_trouble
from testbed.vm.machine import Machine, MachineError, Progress

BOOT_LIMIT_SECONDS = 360.0  # a machine without KVM whose processors are loaded many times over needs minutes
# The agent's first word comes before half of a boot is over. Of some hundreds on busy hosts one gave none in 360 s: a
# kernel that took its timer to be far too fast (clocks.py) would look like that.
SIGN_OF_LIFE_LIMIT_SECONDS = BOOT_LIMIT_SECONDS / 2
KVM_BOOT_LIMIT_SECONDS = 45.0  # with KVM it takes seconds, or does not end
_CONSOLE_LINES = 200
_CONSOLE_TAIL = 8


class VirtualMachine(Machine):
    """A booted machine; leaving the context ends it. To be made in a thread that lives as long as it does.

    Raises MachineError if it does not boot, with the last lines of its console.
    """

    def __init__(self, clock: Clock = "real", progress: Progress | None = None, memory: str = "2G") -> None:
        self.clock = clock
        self._stopped = False
        kernel = kernel_image()
        # Compiled here in a blink, by emulation in seconds, and each time, because the guest cannot write it.
        for package in memory_image.OWN_PACKAGES:
            compileall.compile_dir(REPOSITORY / package, quiet=2)
        plan = Plan(kernel, clock, memory, use_kvm=clock == "real" and kvm_trouble() is None)
        self._qemu, stream, self.guest = _boot(plan, progress or (lambda _: None))
        super().__init__(stream)
        self.rest()

    @property
    def pid(self) -> int:
        """QEMU's."""
        return self._qemu.pid

    def close(self) -> None:
        """End the machine at once; what runs in it is lost, and nothing of it is left on the host."""
        self._qemu.end()
        super().close()

    def why_it_ended(self) -> str:
        return self._qemu.describe("the virtual machine ended unexpectedly")

    def wake(self) -> None:
        if self._stopped:
            self._stopped = False
            self._qemu.resume()

    def rest(self) -> None:
        if self.clock == "virtual":
            self._stopped = True
            self._qemu.suspend()


class _Disturbed(MachineError):
    """The boot went wrong in a way that is put down to the host, which was busy at a wrong moment."""


class Qemu:
    """The QEMU process and, in `console`, the last lines of its machine's."""

    def __init__(self, plan: Plan, port: socket.socket) -> None:
        self.console: collections.deque[str] = collections.deque(maxlen=_CONSOLE_LINES)
        console_read, console_write = os.pipe()
        with tempfile.TemporaryFile() as image, tempfile.TemporaryFile() as initramfs, os.fdopen(console_write) as out:
            memory_image.write(image, version(plan.kernel))
            command = qemu_command(plan, port.fileno(), image.fileno(), initramfs)
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=[port.fileno(), image.fileno(), initramfs.fileno()],
                start_new_session=True,  # Ctrl-C is for us: the guest is told by STOP and may clean up
            )
        self._reader = threading.Thread(target=self._read_console, args=(console_read,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def suspend(self) -> None:
        """Stop the process; it has stopped (or ended) when this returns."""
        self._process.send_signal(signal.SIGSTOP)
        if self._process.returncode is None:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self._process.kill()  # works on a stopped process too
        self._process.wait()
        self._reader.join()

    def describe(self, what: str) -> str:
        """`what` and the end of the console, in one line."""
        lines = [line for line in self.console.copy() if line][-_CONSOLE_TAIL:]  # the reader goes on
        return f"{what}; the last of its console: {' | '.join(lines) or '(nothing)'}"

    def _read_console(self, fd: int) -> None:
        with os.fdopen(fd, encoding="utf-8", errors="replace") as console:
            self.console.extend(line.strip() for line in console)


_Booted = tuple[Qemu, socket.socket, dict[str, Any]]


def _boot(plan: Plan, progress: Progress) -> _Booted:
    """QEMU, the stream to its agent, and what the agent says of itself, once it is ready.

    Where KVM does not work, or a busy host disturbed the boot, the machine is booted anew, by emulation.
    """
    emulated = plan._replace(use_kvm=False)
    trials = [plan, emulated, emulated] if plan.use_kvm else [emulated, emulated]
    for trial in trials[:-1]:
        try:
            return _boot_once(trial, progress, SIGN_OF_LIFE_LIMIT_SECONDS)
        except MachineError as error:
            if not (trial.use_kvm or isinstance(error, _Disturbed)):
                raise
            progress(f"{'with KVM: ' if trial.use_kvm else ''}{error}; it is booted anew")
    return _boot_once(emulated, progress, BOOT_LIMIT_SECONDS)


def _boot_once(plan: Plan, progress: Progress, sign_of_life_limit_seconds: float) -> _Booted:
    progress(f"booting {plan.kernel.name} {'with KVM' if plan.use_kvm else 'by emulation'}, {plan.clock} clock")
    started = time.monotonic()
    limit_seconds = KVM_BOOT_LIMIT_SECONDS if plan.use_kvm else BOOT_LIMIT_SECONDS
    first_limit_seconds = min(sign_of_life_limit_seconds, limit_seconds)
    stream, guest_end = socket.socketpair()
    with guest_end:
        qemu = Qemu(plan, guest_end)
    is_alive = False
    try:
        for what in _agent_messages(qemu, stream, started + first_limit_seconds, started + limit_seconds):
            is_alive = True
            after = f"{time.monotonic() - started:.0f} s"
            if "ready" not in what:
                progress(f"{after}: {what['progress']}")
                if trouble := what.get("trouble"):
                    raise _Disturbed(trouble)
                continue
            for module, trouble in what["ready"]["failed"].items():
                progress(f"{after}: the guest cannot import {module}: {trouble}")
            progress(f"{after}: the virtual machine is ready")
            return qemu, stream, what["ready"]
        if not is_alive:
            raise _Disturbed(qemu.describe(f"the virtual machine gave no sign of life in {first_limit_seconds:.0f} s"))
        raise MachineError(qemu.describe(f"the virtual machine was not ready after {limit_seconds:.0f} s"))
    except BaseException:
        qemu.end()
        stream.close()
        raise


def _agent_messages(
    qemu: Qemu, stream: socket.socket, first_deadline: float, deadline: float
) -> Iterator[dict[str, Any]]:
    """What the agent says on its own channel, until the deadline, which is another for the first."""
    decoder = Decoder()
    until = first_deadline
    while (left := until - time.monotonic()) > 0:
        stream.settimeout(left)
        try:
            data = stream.recv(65536)
        except TimeoutError:
            return
        finally:
            stream.settimeout(None)
        if not data:
            raise MachineError(qemu.describe("the virtual machine ended before it was ready"))
        for frame in decoder.feed(data):
            if frame.channel == AGENT_CHANNEL:
                yield frame.json()
                until = deadline
