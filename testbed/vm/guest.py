"""The agent in the virtual machine: starts processes and calls functions for the host.

It talks frames (`frames.py`) over a virtio-serial port. Every channel is one forked child, whose standard streams the
agent relays. A called function runs in a child of this very process, which has imported everything already: by
emulation importing scapy and pyroute2 takes a quarter of a minute, forking takes a millisecond.
What is measured must not depend on the speed of the host: the files used lie in memory (`memory_image.py`).
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import pty
import selectors
import signal
import subprocess
import sys
import termios
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from testbed.vm.clocks import apic_timer_trouble
from testbed.vm.frames import AGENT_CHANNEL, Decoder, Frame, Kind, json_frame
from testbed.vm.memory_image import KERNEL_MODULES, own_modules

PORT_NAME = "context-reflector-lab"
_READ_SIZE = 65536


class _Child:
    """One process: where its input goes, what it says on which descriptor."""

    def __init__(self, pid: int, input_fd: int, outputs: dict[int, Kind], has_terminal: bool) -> None:
        self.pid = pid
        self.pid_fd = os.pidfd_open(pid)
        self.input_fd: int | None = input_fd
        self.outputs = outputs
        self.has_terminal = has_terminal
        for fd in (input_fd, *outputs):
            os.set_blocking(fd, False)
        self.pending = bytearray()  # input that the process has not taken yet
        self.input_ended = False
        self.stopped = False


class Agent:
    """The loop between the port and the children. OPEN's payload says what to run:

    {"call": "module:function", "arguments": {...}}: the function gets `progress` besides its arguments; its result,
    its progress texts and its exception are JSON lines on standard output;
    {"argv": [...], "cwd"?, "environment"?, "terminal"?: {"rows", "columns"}}: a process.

    One that is `sleepless` keeps the processor busy while it has no child: idle, a virtual clock races.
    """

    def __init__(self, port: int, *, sleepless: bool = False) -> None:
        self._port = port
        self._sleepless = sleepless
        self._decoder = Decoder()
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, _Child] = {}
        self._host_is_there = True

    def say(self, **what: Any) -> None:
        """One JSON line to the host on the agent's own channel."""
        self._send(json_frame(AGENT_CHANNEL, Kind.DATA, what))

    def serve(self) -> None:
        """Serve until the host has gone."""
        self._watch(self._port, selectors.EVENT_READ, self._from_host)
        while self._host_is_there:
            for key, _ in self._selector.select(0.0 if self._sleepless and not self._children else None):
                if self._selector.get_map().get(key.fd) == key:  # else a handler before it in this round closed it
                    key.data()

    def _send(self, frame: Frame) -> None:
        data = memoryview(frame.encode())
        while data:
            data = data[os.write(self._port, data) :]

    def _watch(self, fd: int, events: int, handler: Callable[[], None]) -> None:
        self._unwatch(fd)
        self._selector.register(fd, events, handler)

    def _unwatch(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def _from_host(self) -> None:
        data = os.read(self._port, _READ_SIZE)
        self._host_is_there = bool(data)
        for frame in self._decoder.feed(data):
            if frame.kind is Kind.OPEN:
                self._open(frame.channel, frame.json())
            elif child := self._children.get(frame.channel):  # else it ended while the frame was under way
                self._to_child(child, frame)

    def _open(self, channel: int, what: dict[str, Any]) -> None:
        child = _start(what)
        self._children[channel] = child
        for fd, kind in child.outputs.items():
            self._watch(fd, selectors.EVENT_READ, functools.partial(self._relay, channel, fd, kind))
        self._watch(child.pid_fd, selectors.EVENT_READ, functools.partial(self._ended, channel, child))

    def _to_child(self, child: _Child, frame: Frame) -> None:
        match frame.kind:
            case Kind.DATA:
                child.pending += frame.payload
                self._write_input(child)
            case Kind.END_OF_INPUT:
                child.input_ended = True
                self._write_input(child)
            case Kind.RESIZE:
                _resize(next(iter(child.outputs)), frame.json())
            case Kind.STOP:
                _stop(child)

    def _write_input(self, child: _Child) -> None:
        """Write what the process takes now and wait with the rest; a process that reads no more gets no more."""
        if child.input_fd is None:
            return
        try:
            while child.pending:
                del child.pending[: os.write(child.input_fd, child.pending)]
        except BlockingIOError:
            self._watch(child.input_fd, selectors.EVENT_WRITE, functools.partial(self._write_input, child))
            return
        except OSError:
            child.input_ended = True
        self._unwatch(child.input_fd)
        if child.input_ended:
            self._close_input(child)

    def _close_input(self, child: _Child) -> None:
        if child.input_fd is not None:
            self._unwatch(child.input_fd)
            os.close(child.input_fd)
            child.input_fd = None

    def _relay(self, channel: int, fd: int, kind: Kind) -> None:
        """Pass on what there is now."""
        try:
            data = os.read(fd, _READ_SIZE)
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        if data:
            self._send(Frame(channel, kind, data))
        else:
            self._unwatch(fd)

    def _ended(self, channel: int, child: _Child) -> None:
        """Reap; pass on its last words, but do not wait for what it left running behind (a lab that stays up)."""
        _, status = os.waitpid(child.pid, 0)
        self._unwatch(child.pid_fd)
        os.close(child.pid_fd)
        self._close_input(child)
        for fd, kind in child.outputs.items():
            with contextlib.suppress(OSError):  # nothing more now, or the terminal has gone
                while data := os.read(fd, _READ_SIZE):
                    self._send(Frame(channel, kind, data))
            self._unwatch(fd)
            os.close(fd)
        del self._children[channel]
        code = os.waitstatus_to_exitcode(status)
        self._send(json_frame(channel, Kind.EXIT, {"status": code if code >= 0 else 128 - code}))


def _resize(terminal: int, size: dict[str, int]) -> None:
    termios.tcsetwinsize(terminal, (size["rows"], size["columns"]))


def _stop(child: _Child) -> None:
    with contextlib.suppress(ProcessLookupError):
        if child.stopped:
            os.killpg(child.pid, signal.SIGKILL)
        elif child.has_terminal:
            os.killpg(child.pid, signal.SIGHUP)
        else:
            os.kill(child.pid, signal.SIGINT)
    child.stopped = True


def _start(what: dict[str, Any]) -> _Child:
    if size := what.get("terminal"):
        pid, terminal = pty.fork()
        if pid == 0:
            _become(what)
        _resize(terminal, size)
        return _Child(pid, os.dup(terminal), {terminal: Kind.DATA}, has_terminal=True)
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        for number, fd in enumerate((stdin, stdout, stderr)):
            os.dup2(fd, number)
        _become(what)
    for fd in (stdin, stdout, stderr):
        os.close(fd)
    return _Child(pid, to_stdin, {from_stdout: Kind.DATA, from_stderr: Kind.ERROR_OUTPUT}, has_terminal=False)


def _become(what: dict[str, Any]) -> NoReturn:
    """In the child: be the process or run the function, and never come back."""
    status = 1
    try:
        os.closerange(3, 4096)  # the agent's own; it has never so many
        if "call" in what:
            _heed_interrupts(signal.default_int_handler)
            status = _call(what["call"], what["arguments"])
        else:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it
            _heed_interrupts(signal.SIG_DFL)
            os.chdir(what.get("cwd") or "/")
            os.execvpe(what["argv"][0], what["argv"], os.environ | (what.get("environment") or {}))
    except OSError as error:
        print(f"{what.get('argv', ['?'])[0]}: {error.strerror or error}", file=sys.stderr)
        status = 127
    finally:
        with contextlib.suppress(OSError):  # the host has gone: nobody reads
            sys.stderr.flush()
        os._exit(status)


def _heed_interrupts(how: Any) -> None:
    signal.signal(signal.SIGINT, how)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _call(name: str, arguments: dict[str, Any]) -> int:
    """Run `module:function`; its reports go to what was standard output, what it prints goes to standard error."""
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(**what: Any) -> None:
        print(json.dumps(what), file=reports, flush=True)

    try:
        module_name, _, function_name = name.partition(":")
        function = getattr(importlib.import_module(module_name), function_name)
        report(result=function(**arguments, progress=lambda text: report(progress=str(text))))
    except BaseException as error:  # whatever it is, the host raises it
        text = str(error).strip() or type(error).__name__
        report(error={"kind": type(error).__name__, "message": text, "traceback": traceback.format_exc()})
        return 1
    finally:
        sys.stdout.flush()
    return 0


def run_pytest(arguments: list[str], directory: str, progress: Callable[[str], None]) -> int:
    """pytest's exit status; what it prints goes to standard error, as everything that a called function prints does."""
    import pytest  # noqa: PLC0415 -- only tests pay for it

    progress(f"pytest runs in {directory} in the guest")
    os.chdir(directory)
    return int(pytest.main(["-p", "no:cacheprovider", *arguments]))


def ping(progress: Callable[[str], None]) -> str:
    """Answer; the shortest call there is."""
    progress("on its way")
    return "pong"


def _import(names: Iterator[str]) -> dict[str, str]:
    """Import; what cannot be imported by name, with its one line."""
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a module may fail in any way while it is being written
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _open_port() -> int:
    for entry in Path("/sys/class/virtio-ports").iterdir():
        if (entry / "name").read_text().strip() == PORT_NAME:
            return os.open(f"/dev/{entry.name}", os.O_RDWR)
    raise SystemExit(f"no virtio-serial port is named {PORT_NAME}")


def main() -> None:
    """Prepare the guest, then serve. When this returns, virtme-ng's init powers the machine off."""
    # An interrupt must find a child that heeds it: Python forgets one that comes while it forks.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    agent = Agent(_open_port(), sleepless=sys.argv[1] == "virtual")
    trouble = apic_timer_trouble(Path("/proc/timer_list").read_text())
    agent.say(progress="the guest's kernel is up, loading its modules", trouble=trouble)
    subprocess.run(["modprobe", "-a", *KERNEL_MODULES], check=False)  # one that is missing is the doctor's to report
    agent.say(progress="importing the daemons and the lab")
    failed = _import(own_modules())
    gc.collect()
    gc.freeze()  # children share these pages and their collectors leave them alone
    agent.say(ready={"kernel": os.uname().release, "failed": failed})
    agent.serve()


if __name__ == "__main__":
    main()
