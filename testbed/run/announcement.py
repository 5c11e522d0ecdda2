"""Telling MAGs that mobile nodes are about to leave, at an exact moment and all of them at once.

What `magctl handover` says is said on connections that are open already; the answers are read when there is time.
"""

import json
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from testbed.lab.node import LabError


class Departure(NamedTuple):
    """An MN, the control socket of the MAG that it leaves and the address of the one where it goes."""

    mn_id: str
    control_socket: Path
    nmag: str


class Announcer:
    """Connected to the MAGs that are left."""

    def __init__(self, departures: Iterable[Departure]) -> None:
        self._lines: dict[Path, bytes] = {}
        for departure in departures:
            request = {"command": "handover", "mn_id": departure.mn_id, "nmag": departure.nmag}
            line = json.dumps(request).encode() + b"\n"
            self._lines[departure.control_socket] = self._lines.get(departure.control_socket, b"") + line

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._clients = {path: stack.enter_context(socket.socket(socket.AF_UNIX)) for path in self._lines}
            for path, client in self._clients.items():
                client.connect(str(path))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def announce(self) -> None:
        for path, client in self._clients.items():
            client.sendall(self._lines[path])

    def require_done(self) -> None:
        """Raises LabError with what a MAG answered when it was no consent."""
        for path, client in self._clients.items():
            with client.makefile("rb") as answers:
                for _ in range(self._lines[path].count(b"\n")):
                    answer = json.loads(answers.readline() or b'{"error": "no answer"}')
                    if "error" in answer:
                        raise LabError(f"{path.stem}: {answer['error']}")
