"""This terminal joined to a process in a virtual machine."""

import contextlib
import functools
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from testbed.vm.frames import Kind
from testbed.vm.machine import Channel, Machine, write_through


def shell(machine: Machine, argv: Sequence[str], *, environment: dict[str, str] | None = None) -> int:
    """Join standard input and output to a process in the guest; its exit status.

    With a terminal here it gets one there: window size and Ctrl-C reach it. Without one it gets pipes.
    """
    what: dict[str, Any] = {"argv": list(argv), "environment": environment}
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return machine.run(
            argv,
            stdin=sys.stdin.fileno(),
            output=functools.partial(write_through, sys.stdout.fileno()),
            error_output=functools.partial(write_through, sys.stderr.fileno()),
            environment=environment,
        )
    what["terminal"] = _window_size()
    what["environment"] = {"TERM": os.environ.get("TERM", "linux")} | (environment or {})
    with machine.open(what) as channel, _raw_terminal(channel), channel.fed_from(sys.stdin.fileno()):
        return channel.relay_until_exit({Kind.DATA: functools.partial(write_through, sys.stdout.fileno())})


def _window_size() -> dict[str, int]:
    size = shutil.get_terminal_size()
    return {"rows": size.lines, "columns": size.columns}


@contextlib.contextmanager
def _raw_terminal(channel: Channel) -> Iterator[None]:
    """This terminal raw and its size passed on; as it was before on leaving."""
    stdin = sys.stdin.fileno()
    settings = termios.tcgetattr(stdin)

    def forward_size(_signal: int, _frame: FrameType | None) -> None:
        channel.send_json(Kind.RESIZE, _window_size())

    before = signal.signal(signal.SIGWINCH, forward_size)
    tty.setraw(stdin, termios.TCSADRAIN)  # what has been typed already counts
    try:
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, settings)
        signal.signal(signal.SIGWINCH, before)
