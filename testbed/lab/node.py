"""Processes in network namespaces: run one to its end, spawn one, fork one into a Python function, wait for it.

A namespace has no name and no mount: it lives as long as somebody holds a descriptor of it or runs in it. Everything
started here dies with the process that started it, so a lab that is killed leaves nothing running and nothing behind.
"""

import ctypes
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from signal import SIG_BLOCK, SIG_DFL, SIG_SETMASK, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals, pthread_sigmask
from signal import signal as set_handler
from typing import NoReturn, TypeVar

from testbed.lab.processor import first_come_first_served, uninterrupted

T = TypeVar("T")

# What programs say is read by programs; and a locale's files (ping reads a dozen) are on the host of a guest.
PLAIN = {"LC_ALL": "C"}

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29  # ns; by default the kernel lets a timer be up to 50 µs late
_POLL_S = 0.02
_STOP_TIMEOUT_S = 10.0
_REACTION_S = 0.005
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab cannot do what it was asked to; the text is the one line that the user reads."""


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def wait_until(
    condition: Callable[[], T],
    what: str,
    timeout_s: float = 30.0,
    poll_s: float = _POLL_S,
    *,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """The first true value of `condition`; `pause(poll_s)` between looks. Raises LabError when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        is_last = time.monotonic() > deadline  # however long this process itself was held up, it looks once more
        if value := condition():
            return value
        if is_last:
            raise LabError(f"{what}: not within {timeout_s:g} s")
        pause(poll_s)


def now_ns() -> int:
    """CLOCK_REALTIME: the clock of captures and journals."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def sleep_until(moment_ns: int) -> None:
    """Sleep until a moment by CLOCK_REALTIME, if it is not past."""
    time.sleep(max(0, moment_ns - now_ns()) / 1e9)  # clock_nanosleep, since Python 3.11


class Process:
    """A child process. `output` is the file that its standard error goes to."""

    def __init__(self, name: str, pid: int, output: Path | None = None) -> None:
        self.name = name
        self.pid = pid
        self.output = output
        self.returncode: int | None = None
        self._pid_fd = os.pidfd_open(pid)

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._pid_fd

    def ended(self) -> bool:
        return self.wait(0)

    def wait(self, timeout_s: float | None) -> bool:
        """Whether the process ended in time, if there is a limit; then `returncode` is set, -N for signal N."""
        if self.returncode is None and select.select([self._pid_fd], [], [], timeout_s)[0]:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._pid_fd)
        return self.returncode is not None

    def signal(self, number: Signals) -> None:
        if not self.ended():
            os.kill(self.pid, number)

    def resume(self, at_ns: int) -> None:
        """Have it go on, after SIGSTOP, at a moment by CLOCK_REALTIME; return when it has had the processor.

        From then on it is served first come first: what it sends, it sends when its timer says.
        """
        with uninterrupted():
            if not self.ended():
                first_come_first_served(self.pid)
            sleep_until(at_ns)
            self.signal(SIGCONT)
            time.sleep(_REACTION_S)  # else it would have to share the processor with this process

    def stop(self, number: Signals = SIGTERM, timeout_s: float = _STOP_TIMEOUT_S) -> int:
        """Signal it and return its exit code. Kills it and raises LabError when it does not end in time."""
        self.signal(number)
        if not self.wait(timeout_s):
            self.kill()
            raise LabError(f"{self.name} did not stop on {number.name} within {timeout_s:g} s{self.last_words()}")
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        self.signal(SIGKILL)
        self.wait(None)  # the kernel sees to it: on a machine that stands still it may take long

    def last_words(self) -> str:
        """`: ` and the last line that it wrote to its standard error, or nothing."""
        lines = self.output.read_text(errors="replace").split("\n") if self.output and self.output.exists() else []
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")

    def require_alive(self) -> None:
        if self.ended():
            raise LabError(f"{self.name} ended early with {self.returncode}{self.last_words()}")


class Node:
    """A network namespace and the processes in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._processes: list[Process] = []
        with _this_namespace() as own:
            _call("unshare", _CLONE_NEWNET)
            try:
                self.fd = _open_namespace()
            finally:
                _call("setns", own, _CLONE_NEWNET)

    @property
    def path(self) -> str:
        """A path to the namespace, for `ip link … netns` and `nsenter --net=`."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace meanwhile; sockets made there stay there."""
        with enter_namespace(self.fd):
            yield

    def run(self, argv: Sequence[str], text: str = "") -> str:
        """Run to the end with `text` as input; the standard output. Raises LabError with what it complained about."""
        with self.inside():
            return run(argv, text, where=f"{self.name}: ")

    def spawn(
        self,
        argv: Sequence[str],
        *,
        output: Path,
        errors: Path,
        policy: int = os.SCHED_OTHER,
        environment: dict[str, str] | None = None,
    ) -> Process:
        """Start a program, with more in its environment; its standard output and error go to files."""

        def program() -> NoReturn:
            os.sched_setscheduler(0, policy, os.sched_param(0))
            _call("prctl", _PR_SET_TIMERSLACK, 1)
            os.execvpe(argv[0], list(argv), os.environ | PLAIN | (environment or {}))

        return self._start(f"{self.name}: {argv[0]}", program, output, errors)

    def fork(self, name: str, function: Callable[[], None], log: Path, inherit: Sequence[int] = ()) -> Process:
        """Run a function in a forked child: what this process has imported, the child has.

        Of descriptors it has its streams and, from 3 on, those to `inherit`.
        """
        return self._start(f"{self.name}: {name}", function, log, log, inherit)

    def close(self) -> None:
        """Kill what still runs here and let go of the namespace."""
        while self._processes:
            self._processes.pop().kill()
        os.close(self.fd)

    def _start(
        self, name: str, function: Callable[[], None], output: Path, errors: Path, inherit: Sequence[int] = ()
    ) -> Process:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        descriptors = _open_streams(output, errors)
        # Ctrl-C must not reach the child before it has its own handlers, nor between fork and the entry in the list.
        blocked = pthread_sigmask(SIG_BLOCK, {SIGINT, SIGTERM})
        try:
            pid = os.fork()
            if pid == 0:
                _be_child(parent, self.fd, function, [*descriptors, *inherit])
            process = Process(name, pid, errors)
            self._processes.append(process)
        finally:
            pthread_sigmask(SIG_SETMASK, blocked)
            for descriptor in descriptors:
                os.close(descriptor)
        return process


def _open_streams(output: Path, errors: Path) -> list[int]:
    """What a child's descriptors 0, 1 and 2 become. Here, so that the files are there when the child is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return [os.open(os.devnull, os.O_RDONLY), os.open(output, flags, 0o644), os.open(errors, flags, 0o644)]


def _be_child(parent: int, namespace: int, function: Callable[[], None], descriptors: Sequence[int]) -> NoReturn:
    """The rest of a forked child's life. It never returns into the frames of its parent."""
    code = 1
    try:
        _call("prctl", _PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() != parent:  # it died before it could take us along
            os._exit(1)
        os.setsid()  # Ctrl-C in the terminal is for the lab, which stops its processes in order
        for number in (SIGINT, SIGTERM, SIGHUP):
            set_handler(number, SIG_DFL)
        pthread_sigmask(SIG_SETMASK, ())
        _call("setns", namespace, _CLONE_NEWNET)
        # Out of the way first: none may be overwritten by another.
        aside = [fcntl(descriptor, F_DUPFD, len(descriptors)) for descriptor in descriptors]
        for descriptor, copy in enumerate(aside):
            os.dup2(copy, descriptor)
        os.closerange(len(descriptors), os.sysconf("SC_OPEN_MAX"))  # the other nodes' namespaces among them
        sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
        function()
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run(argv: Sequence[str], text: str = "", where: str = "") -> str:
    """Run to the end with `text` as input; the standard output. Raises LabError with what it complained about."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, env=os.environ | PLAIN)
    except FileNotFoundError:
        raise LabError(f"{where}{argv[0]} is not installed") from None
    if done.returncode:
        raise LabError(f"{where}{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@contextmanager
def enter_namespace(fd: int) -> Iterator[None]:
    """This thread is in that network namespace meanwhile."""
    with _this_namespace() as own:
        _call("setns", fd, _CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", own, _CLONE_NEWNET)


def _open_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def _this_namespace() -> Iterator[int]:
    fd = _open_namespace()
    try:
        yield fd
    finally:
        os.close(fd)
