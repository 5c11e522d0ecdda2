"""What the host can ask of a virtual machine: call a function, run a process, carry files. `terminal.py` opens one.

A `Machine` is the host's end of a stream of frames; `guest.py` is the other end. The stream comes from a machine just
booted (`vm.VirtualMachine`) or from the keeper of one that stays up (`keeper.attach`): both are used in the same way,
by several threads if need be.
"""

import contextlib
import functools
import itertools
import json
import os
import queue
import select
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.vm.frames import Decoder, Frame, Kind, json_frame

Progress = Callable[[str], None]
_READ_SIZE = 65536
_QUEUE_LENGTH = 1024  # frames that wait for a slow reader before the guest has to wait
_STOP_LIMIT_SECONDS = 20.0  # a stopped call removes what it built; by emulation that takes its time


class MachineError(Exception):
    """The virtual machine does not boot, has ended, or cannot be reached; one clear line."""


class GuestError(Exception):
    """A function called in the guest raised: the text is the exception's own, `kind` its class's name."""

    def __init__(self, kind: str, message: str, traceback: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback


class Channel:
    """One process in the guest. Iterate for its frames, the last one is EXIT; leaving the context stops it."""

    def __init__(self, machine: "Machine", number: int) -> None:
        self._machine = machine
        self._number = number
        self._frames: queue.Queue[Frame | None] = queue.Queue(_QUEUE_LENGTH)
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ended:
            return
        self.send(Kind.STOP)
        if not self._wait_for_end():
            self.send(Kind.STOP)  # the second one kills
            self._wait_for_end()

    def __iter__(self) -> Iterator[Frame]:
        while not self._ended:
            yield self._next(None)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self._machine.send(Frame(self._number, kind, payload))

    def send_json(self, kind: Kind, value: Any) -> None:
        self._machine.send(json_frame(self._number, kind, value))

    @contextlib.contextmanager
    def fed_from(self, fd: int | None) -> Iterator[None]:
        """Pass on what can be read from `fd`, until its end or the end of the context; None is no input at all."""
        if fd is None:
            self.send(Kind.END_OF_INPUT)
            yield
            return
        leave_read, leave_write = os.pipe()
        feeder = threading.Thread(target=self._feed, args=(fd, leave_read), daemon=True)
        feeder.start()
        try:
            yield
        finally:
            os.close(leave_write)
            feeder.join()
            os.close(leave_read)

    def relay_until_exit(self, sinks: Mapping[Kind, Callable[[bytes], Any] | None]) -> int:
        """Give each frame's payload to the sink of its kind; the exit status."""
        for frame in self:
            if frame.kind is Kind.EXIT:
                return int(frame.json()["status"])
            if sink := sinks.get(frame.kind):
                sink(frame.payload)
        raise AssertionError("a channel's last frame is EXIT")

    def deliver(self, frame: Frame | None) -> None:
        """For the machine's reader: a frame of this channel, or None when the machine has gone."""
        self._frames.put(frame)

    def _feed(self, fd: int, leave: int) -> None:
        while leave not in (ready := select.select([fd, leave], [], [])[0]) and ready:
            if not (data := os.read(fd, _READ_SIZE)):
                self.send(Kind.END_OF_INPUT)
                return
            self.send(Kind.DATA, data)

    def _next(self, limit_seconds: float | None) -> Frame:
        frame = self._frames.get(timeout=limit_seconds)
        if frame is None or frame.kind is Kind.EXIT:
            self._ended = True
        if frame is None:
            raise MachineError(self._machine.why_it_ended())
        return frame

    def _wait_for_end(self) -> bool:
        with contextlib.suppress(queue.Empty, MachineError):
            while not self._ended:
                self._next(_STOP_LIMIT_SECONDS)
        return self._ended


class Machine:
    """A virtual machine whose agent answers on `stream`."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._write_lock = threading.Lock()
        self._channels_lock = threading.Lock()
        self._channels: dict[int, Channel] = {}
        self._numbers = itertools.count(1)
        self._gone = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the stream. Whatever runs in the guest for this machine's user is stopped by the other end."""
        with contextlib.suppress(OSError):  # the other end has gone already
            self._stream.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._stream.close()

    def call(
        self,
        function: str,
        arguments: dict[str, Any] | None = None,
        *,
        progress: Progress | None = None,
        output: Callable[[bytes], Any] | None = None,
    ) -> Any:
        """Run `module:function(**arguments, progress=...)` in the guest; its result, which went through JSON.

        `output` gets what the function prints. Raises GuestError for its exception, MachineError if the machine ends.
        Ctrl-C interrupts the function too and waits until it has cleaned up.
        """
        lines = bytearray()
        outcome: dict[str, Any] = {}

        def read_reports(data: bytes) -> None:
            lines.extend(data)
            while b"\n" in lines:
                line, _, rest = bytes(lines).partition(b"\n")
                lines[:] = rest
                report = json.loads(line)
                if "progress" not in report:
                    outcome.update(report)
                elif progress:
                    progress(report["progress"])

        with self.open({"call": function, "arguments": arguments or {}}) as channel:
            status = channel.relay_until_exit({Kind.DATA: read_reports, Kind.ERROR_OUTPUT: output})
        if error := outcome.get("error"):
            raise GuestError(**error)
        if "result" not in outcome:
            raise GuestError("Exit", f"{function} ended with status {status} in the guest", "")
        return outcome["result"]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: int | None = None,
        output: Callable[[bytes], Any] | None = None,
        error_output: Callable[[bytes], Any] | None = None,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> int:
        """Run a process in the guest without a terminal; its exit status (127: it cannot be started).

        `stdin` is a descriptor to read its input from.
        """
        sinks = {Kind.DATA: output, Kind.ERROR_OUTPUT: error_output}
        with (
            self.open({"argv": list(argv), "cwd": cwd, "environment": environment}) as channel,
            channel.fed_from(stdin),
        ):
            return channel.relay_until_exit(sinks)

    def push(self, source: Path, destination: str) -> None:
        """Copy the contents of a host directory into a guest directory, which is made if need be."""
        self._checked(["mkdir", "-p", destination])
        with subprocess.Popen(["tar", "-C", source, "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
            assert tar.stdout is not None
            self._checked(["tar", "-C", destination, "-xf", "-"], stdin=tar.stdout.fileno())
        if tar.returncode:
            raise MachineError(f"cannot read {source}: tar ended with status {tar.returncode}")

    def pull(self, source: str, destination: Path) -> None:
        """Copy the contents of a guest directory into a host directory, which is made if need be."""
        destination.mkdir(parents=True, exist_ok=True)
        extract: list[str | Path] = ["tar", "-C", destination, "--no-same-owner", "-xf", "-"]
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(extract, stdin=subprocess.PIPE, stderr=errors) as tar,
        ):
            assert tar.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended: its status and message say why
                write = functools.partial(write_through, tar.stdin.fileno())
                self._checked(["tar", "-C", source, "-cf", "-", "."], output=write)
            tar.stdin.close()
            if tar.wait():
                errors.seek(0)
                raise MachineError(f"cannot write {destination}: {_first_line(errors.read())}")

    def open(self, what: dict[str, Any]) -> Channel:
        """Start a process in the guest; `guest.Agent` says what `what` may hold."""
        number = next(self._numbers)
        channel = Channel(self, number)
        with self._channels_lock:
            if self._gone:
                raise MachineError(self.why_it_ended())
            if not self._channels:
                self.wake()
            self._channels[number] = channel
        channel.send_json(Kind.OPEN, what)
        return channel

    def send(self, frame: Frame) -> None:
        """One frame to the other end; if that has gone, the channel's reader will say so."""
        with self._write_lock, contextlib.suppress(OSError):
            self._stream.sendall(frame.encode())

    def why_it_ended(self) -> str:
        """One line for the user."""
        return "the virtual machine has ended"

    def wake(self) -> None:
        """The first channel is about to open."""

    def rest(self) -> None:
        """The last channel has ended."""

    def _read(self) -> None:
        decoder = Decoder()
        with contextlib.suppress(OSError):  # the other end died: same as its end
            while data := self._stream.recv(_READ_SIZE):
                for frame in decoder.feed(data):
                    self._dispatch(frame)
        with self._channels_lock:
            self._gone = True
            orphans = list(self._channels.values())
            self._channels.clear()
        for channel in orphans:
            channel.deliver(None)

    def _dispatch(self, frame: Frame) -> None:
        with self._channels_lock:
            channel = self._channels.get(frame.channel)
            if frame.kind is Kind.EXIT:
                self._channels.pop(frame.channel, None)
                if not self._channels:
                    self.rest()
        if channel:
            channel.deliver(frame)

    def _checked(
        self, argv: list[str], *, stdin: int | None = None, output: Callable[[bytes], Any] | None = None
    ) -> None:
        errors = bytearray()
        if status := self.run(argv, stdin=stdin, output=output, error_output=errors.extend):
            raise MachineError(f"in the guest, {argv[0]} ended with status {status}: {_first_line(errors)}")


def write_through(fd: int, data: bytes) -> None:
    """All of it, however little the descriptor takes at a time."""
    while data:
        data = data[os.write(fd, data) :]


def _first_line(said: bytes | bytearray) -> str:
    return (said.decode(errors="replace").strip().splitlines() or ["no message"])[0]
