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
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from testbed.vm import memory_image
from testbed.vm.frames import AGENT_CHANNEL, Decoder
from testbed.vm.guest import PORT_NAME
from testbed.vm.kvm import kvm_trouble
from testbed.vm.machine import Machine, MachineError, Progress

Clock = Literal["real", "virtual"]
REPOSITORY = Path(__file__).parents[2]
BOOT_LIMIT_SECONDS = 360.0  # a machine without KVM whose processors are loaded many times over needs minutes
KVM_BOOT_LIMIT_SECONDS = 45.0  # with KVM it takes seconds, or does not end
_CONSOLE_LINES = 200
_CONSOLE_TAIL = 8
_WRITABLE = ("/var", "/tmp")  # besides what guest.sh lays over itself
# The address layout fixed, no lines on the console but errors.
_KERNEL_OPTIONS = (
    *("nokaslr", "norandmaps", "tsc=reliable", "mitigations=off"),
    "module_blacklist=kvm,powernow_k8,acpi_cpufreq,libata,cdrom,psmouse,i2c_i801,lpc_ich,pcspkr,i6300esb,cryptd",
)
# So that figures repeat, what the kernel does for itself (in work queues) is put aside at once for packets: else one
# waits now and then, a tenth of a millisecond, for the end of that. Who makes huge pages is not put aside.
_VIRTUAL_KERNEL_OPTIONS = ("preempt=full", "transparent_hugepage=never")
_VIRTUAL_CLOCK = (
    *("-icount", "shift=0,sleep=off"),
    *("-rtc", "base=2026-01-01T00:00:00,clock=vm"),
)


def kernel_image() -> Path:
    """The newest kernel in /boot that has its modules. Raises MachineError if there is none."""
    images = [path for path in Path("/boot").glob("vmlinuz-*") if Path("/lib/modules", _version(path)).is_dir()]
    if not images:
        raise MachineError("there is no kernel with modules in /boot: apt-get install linux-image-amd64")
    return max(images, key=lambda path: [int(part) for part in re.findall(r"\d+", _version(path))])


def _version(image: Path) -> str:
    return image.name.removeprefix("vmlinuz-")


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
        plan = _Plan(kernel, clock, memory, use_kvm=clock == "real" and kvm_trouble() is None)
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


class _Plan(NamedTuple):
    """What to boot and how."""

    kernel: Path
    clock: Clock
    memory: str
    use_kvm: bool

    @property
    def limit_seconds(self) -> float:
        return KVM_BOOT_LIMIT_SECONDS if self.use_kvm else BOOT_LIMIT_SECONDS


class _Qemu:
    """The QEMU process and the last lines of its console."""

    def __init__(self, plan: _Plan, port: socket.socket) -> None:
        self._console: collections.deque[str] = collections.deque(maxlen=_CONSOLE_LINES)
        console_read, console_write = os.pipe()
        with tempfile.TemporaryFile() as image, tempfile.TemporaryFile() as initramfs, os.fdopen(console_write) as out:
            memory_image.write(image, _version(plan.kernel))
            command = _qemu_command(plan, port.fileno(), image.fileno(), initramfs)
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
        lines = [line for line in self._console if line][-_CONSOLE_TAIL:]
        return f"{what}; the last of its console: {' | '.join(lines) or '(nothing)'}"

    def _read_console(self, fd: int) -> None:
        with os.fdopen(fd, encoding="utf-8", errors="replace") as console:
            self._console.extend(line.strip() for line in console)


_Booted = tuple[_Qemu, socket.socket, dict[str, Any]]


def _boot(plan: _Plan, progress: Progress) -> _Booted:
    """QEMU, the stream to its agent, and what the agent says of itself, once it is ready."""
    if plan.use_kvm:
        try:
            return _boot_once(plan, progress)
        except MachineError as error:
            progress(f"with KVM: {error}")
    return _boot_once(plan._replace(use_kvm=False), progress)


def _boot_once(plan: _Plan, progress: Progress) -> _Booted:
    progress(f"booting {plan.kernel.name} {'with KVM' if plan.use_kvm else 'by emulation'}, {plan.clock} clock")
    started = time.monotonic()
    stream, guest_end = socket.socketpair()
    with guest_end:
        qemu = _Qemu(plan, guest_end)
    try:
        for what in _agent_messages(qemu, stream, started + plan.limit_seconds):
            after = f"{time.monotonic() - started:.0f} s"
            if "ready" not in what:
                progress(f"{after}: {what['progress']}")
                continue
            for module, trouble in what["ready"]["failed"].items():
                progress(f"{after}: the guest cannot import {module}: {trouble}")
            progress(f"{after}: the virtual machine is ready")
            return qemu, stream, what["ready"]
        raise MachineError(qemu.describe(f"the virtual machine was not ready after {plan.limit_seconds:.0f} s"))
    except BaseException:
        qemu.end()
        stream.close()
        raise


def _agent_messages(qemu: _Qemu, stream: socket.socket, deadline: float) -> Iterator[dict[str, Any]]:
    """What the agent says on its own channel, until the deadline."""
    decoder = Decoder()
    while (left := deadline - time.monotonic()) > 0:
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


def _qemu_command(plan: _Plan, port: int, image: int, initramfs: IO[bytes]) -> list[str]:
    """How virtme-ng would call QEMU, with the agent's virtio-serial port and the image's disk on these descriptors.

    The initramfs that it makes goes into `initramfs`.
    """
    script = [str(REPOSITORY / "testbed/vm/guest.sh"), sys.executable, str(Path(sys.executable).parents[1]), plan.clock]
    is_virtual = plan.clock == "virtual"
    options = (*_KERNEL_OPTIONS, *(_VIRTUAL_KERNEL_OPTIONS if is_virtual else ()))
    virtme = [
        *(str(Path(sys.executable).with_name("virtme-run")), "--dry-run", "--show-command"),
        *("--kimg", str(plan.kernel), "--mods", "auto", "--force-9p"),
        *("--name", PORT_NAME, "--memory", plan.memory, "--cpus", "1" if is_virtual else "2"),
        *([] if plan.use_kvm else ["--disable-kvm"]),
        *(f"--overlay-rwdir={path}" for path in _WRITABLE),
        *(word for option in options for word in ("--kopt", option)),
        *("--show-boot-console", "--script-sh", f"cd {shlex.quote(str(REPOSITORY))} && exec bash {shlex.join(script)}"),
        *("--qemu-opts", "-nodefaults", "-chardev", f"socket,id=agent,fd={port}", "-device", "virtio-serial-pci"),
        *("-device", f"virtserialport,name={PORT_NAME},chardev=agent"),
        *("-drive", f"file=/proc/self/fd/{image},format=raw,if=virtio,snapshot=on"),
        *([] if plan.use_kvm else ["-cpu", "max,-erms,-fsrm,-rdrand,-rdseed"]),
        *(_VIRTUAL_CLOCK if is_virtual else ()),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "initramfs")
        virtme[3:3] = ["--save-initramfs", str(path)]
        try:
            said = subprocess.run(
                virtme,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=os.environ | {"TMPDIR": scratch},
                check=True,
            ).stdout
        except FileNotFoundError as error:
            raise MachineError(f"virtme-ng is not installed beside {sys.executable}: make setup") from error
        except subprocess.CalledProcessError as error:
            trouble = error.stderr.strip().splitlines() or ["no message"]
            raise MachineError(f"virtme-run failed: {trouble[-1]}") from error
        initramfs.write(path.read_bytes())
        initramfs.flush()
    words = [f"/proc/self/fd/{initramfs.fileno()}" if word == str(path) else word for word in shlex.split(said)]
    # Each of virtme-ng's ports has a controller, for 31 ports if nobody says how many, with two queues for each:
    # hundreds that QEMU looks at whenever one of its timers ends. One port there is, and one that is reserved.
    words = [re.sub(r"^virtio-serial-pci$", "virtio-serial-pci,max_ports=2", word) for word in words]
    # virtme-ng would read the script's status from a file that QEMU makes; the agent has better ways.
    return [re.sub(r"^(file,id=ret,path=).*", r"\1/dev/null", word) for word in words]
