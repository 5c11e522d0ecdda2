"""A virtual machine that outlives the command which booted it: `start`, `attach` from other commands, `stop`.

The keeper is a process of its own session that owns the machine and relays frames for whoever connects to its socket.
Its directory is locked as long as it lives: one that can be locked is what a killed keeper left, and is removed by the
next command that comes by (the machine itself dies with its keeper, however that ends).
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from testbed.vm.command import Clock
from testbed.vm.frames import Decoder, Frame, Kind
from testbed.vm.machine import Channel, Machine, MachineError, Progress
from testbed.vm.qemu import VirtualMachine

_STOP_LIMIT_SECONDS = 10.0
_LAST_CALL_LIMIT_SECONDS = 20.0


def state_directory(name: str) -> Path:
    """Where the state of lab `name` lies: below /run for root, else below XDG_RUNTIME_DIR or a private one in /tmp."""
    if os.geteuid() == 0:
        base = Path("/run")
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        base = Path(runtime)
    else:
        base = Path(f"/tmp/user-{os.geteuid()}")
        base.mkdir(mode=0o700, exist_ok=True)
        if base.stat().st_uid != os.geteuid():
            raise MachineError(f"{base} belongs to somebody else; set XDG_RUNTIME_DIR")
    return base / "context-reflector-lab" / name


def start(name: str, clock: Clock = "real", progress: Progress | None = None, memory: str = "2G") -> Machine:
    """Boot a machine that stays up, and attach to it. Raises MachineError if there is one or it does not boot."""
    if running(name):
        raise MachineError(f"the virtual machine of lab {name} is up already")
    pid: int | None = None
    trouble = "its keeper ended without a word"
    command = [sys.executable, "-m", "testbed.vm.keeper", name, clock, memory]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=root, text=True) as process:
        assert process.stdout is not None  # the process itself ends at once, the keeper is its child
        try:
            for line in process.stdout:
                match json.loads(line):
                    case {"pid": int(pid)}:
                        continue
                    case {"progress": str(text)}:
                        if progress:
                            progress(text)
                    case {"trouble": str(trouble)}:
                        break
                    case {"ready": _}:
                        return attach(name)
        except BaseException:
            if pid is not None:
                _end(pid)
            raise
    raise MachineError(trouble)


def attach(name: str) -> Machine:
    """A running machine, to be used like one's own; closing it stops what was begun through it, not the machine."""
    if not running(name):
        raise MachineError(f"no virtual machine of lab {name} is up")
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.connect(str(_directory(name) / "socket"))
    except OSError as error:
        stream.close()
        raise MachineError(f"the virtual machine of lab {name} is not ready yet") from error
    return Machine(stream)


def running(name: str) -> bool:
    """Whether there is a machine, be it still booting; removes what a killed keeper left."""
    directory = _directory(name)
    if not directory.exists():
        return False
    with _opened(directory) as fd:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        _remove(directory)
    return False


def stop(name: str) -> bool:
    """End the machine and wait until nothing of it is left; False if there was none."""
    if not running(name):
        return False
    _end(int((_directory(name) / "pid").read_text()))
    return not running(name)  # which also removes the directory if the keeper had to be killed


def _directory(name: str) -> Path:
    return state_directory(name) / "vm"


def _remove(directory: Path) -> None:
    shutil.rmtree(directory)
    with contextlib.suppress(OSError):  # others keep things there too
        directory.parent.rmdir()
        directory.parent.parent.rmdir()


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _end(pid: int) -> None:
    """Have the keeper clean up and end; kill it if it does not."""
    try:
        pid_fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pid_fd, number)
        if select.select([pid_fd], [], [], _STOP_LIMIT_SECONDS)[0]:
            break
    os.close(pid_fd)


class _Client:
    """One connection: its channels are numbered by the client, and stopped when it goes."""

    def __init__(self, machine: VirtualMachine, stream: socket.socket) -> None:
        self._machine = machine
        self._stream = stream
        self._lock = threading.Lock()
        self._open: dict[int, tuple[Channel, threading.Thread]] = {}

    def serve(self) -> None:
        decoder = Decoder()
        with self._stream, contextlib.suppress(ConnectionError):
            while data := self._stream.recv(65536):
                for frame in decoder.feed(data):
                    self._take(frame)
        left = [(channel, relay) for channel, relay in self._open.values() if relay.is_alive()]
        for _ in ("interrupt", "kill"):
            for channel, relay in left:
                if relay.is_alive():
                    channel.send(Kind.STOP)
            for _, relay in left:
                relay.join(_LAST_CALL_LIMIT_SECONDS)

    def _take(self, frame: Frame) -> None:
        if frame.kind is not Kind.OPEN:
            self._open[frame.channel][0].send(frame.kind, frame.payload)
            return
        channel = self._machine.open(frame.json())
        relay = threading.Thread(target=self._relay, args=(frame.channel, channel), daemon=True)
        self._open[frame.channel] = channel, relay
        relay.start()

    def _relay(self, number: int, channel: Channel) -> None:
        try:
            for frame in channel:
                with self._lock, contextlib.suppress(OSError):  # the client has gone: `serve` stops the channel
                    self._stream.sendall(Frame(number, frame.kind, frame.payload).encode())
        except MachineError:
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)


def _keep(name: str, clock: Clock, memory: str, reports: IO[str]) -> None:
    def report(**what: Any) -> None:
        print(json.dumps(what), file=reports, flush=True)

    directory = _directory(name)
    directory.mkdir(mode=0o700, parents=True)
    with _opened(directory) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            (directory / "pid").write_text(str(os.getpid()))
            report(pid=os.getpid())
            with (
                VirtualMachine(clock, lambda text: report(progress=text), memory) as machine,
                socket.socket(socket.AF_UNIX) as listener,
            ):
                listener.bind(str(directory / "socket"))
                listener.listen()
                report(ready=True)
                reports.close()
                _accept(machine, listener)
        except MachineError as error:
            report(trouble=str(error))
        finally:
            _remove(directory)


def _accept(machine: VirtualMachine, listener: socket.socket) -> None:
    """Serve until the machine ends by itself or SIGTERM comes."""
    pid_fd = os.pidfd_open(machine.pid)
    while pid_fd not in select.select([listener.fileno(), pid_fd], [], [])[0]:
        client = _Client(machine, listener.accept()[0])
        threading.Thread(target=client.serve, daemon=True).start()


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Become the keeper: `python -m testbed.vm.keeper NAME CLOCK MEMORY`, which says what it has to as JSON lines."""
    name, clock, memory = sys.argv[1:]
    if os.fork():
        return
    os.setsid()
    signal.signal(signal.SIGTERM, _terminated)
    reports = os.fdopen(os.dup(1), "w")
    with Path("/dev/null").open("r+") as null:  # nobody is there to read what else might be said
        for fd in (0, 1, 2):
            os.dup2(null.fileno(), fd)
    _keep(name, "virtual" if clock == "virtual" else "real", memory, reports)


if __name__ == "__main__":
    main()
