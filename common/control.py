"""The control socket: a person's questions and commands to a running daemon, one JSON object per line each way.

Request `{"command": "show", "subject": "bindings"}`; answer `{"result": ...}` or `{"error": "one line"}`. A command
that goes on telling, such as `trace`, says null when it begins, then a result each time, until the client leaves.

Who may command a daemon: root, the user that it runs as, and members of the group that it runs as. The socket file has
mode 0660, and whoever connects is asked for by the kernel's word (SO_PEERCRED, SO_PEERGROUPS): that holds even where
somebody has changed the mode.
"""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from common.errors import ConfigError

Handler = Callable[..., object]
Emit = Callable[[object], None]
MODE = 0o660
MAX_LINE = 1 << 16
MAX_UNREAD = 1 << 20  # octets that a client may leave unread before it misses something
SO_PEERGROUPS = 59
MAX_GROUPS = 256  # more than Python asks for: then they do not count


@dataclass(frozen=True, slots=True)
class Stream:
    """What a command that goes on telling returns: `follow(emit)` begins, and returns what ends it."""

    follow: Callable[[Emit], Callable[[], None]]


class CommandError(Exception):
    """A command cannot be carried out; the text is the one line that the operator reads."""


class ControlServer:
    """Serves `commands` (name -> function of the request's other keys, which returns what JSON can hold)."""

    def __init__(self, path: Path, commands: Mapping[str, Handler]) -> None:
        self._path = path
        self._commands = commands

    async def __aenter__(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if _answers(self._path):
                raise ConfigError(f"another daemon serves {self._path}")
            self._path.unlink(missing_ok=True)
            mask = os.umask(0o777 & ~MODE)
            try:
                self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE)
            finally:
                os.umask(mask)
        except OSError as error:
            raise ConfigError(f"control socket {self._path}: {error.strerror}") from error

    async def __aexit__(self, *_exception: object) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer: socket.socket = writer.get_extra_info("socket")
            if not may_command(peer):
                _write(writer, {"error": "not allowed: for root and members of the daemon's group"})
                return
            while line := await reader.readline():
                answer = self._answer(line)
                if isinstance(answer.get("result"), Stream):
                    await _tell(answer["result"], reader, writer)  # type: ignore[arg-type]
                    return
                _write(writer, answer)
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # an endless line, or a client that left: both end the connection and nothing else
        finally:
            writer.close()

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            handler = self._commands[request.pop("command")]
        except (ValueError, AttributeError, KeyError, TypeError):
            return {"error": f"not a request; commands are: {', '.join(self._commands)}"}
        try:
            return {"result": handler(**request)}
        except CommandError as error:
            return {"error": str(error)}
        except (TypeError, ValueError) as error:
            return {"error": f"wrong arguments: {error}"}


async def _tell(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the client leaves. What it does not read in time it misses, and is told how many lines."""
    missed = 0

    def emit(result: object) -> None:
        nonlocal missed
        if writer.transport.get_write_buffer_size() > MAX_UNREAD:
            missed += 1
        else:
            _write(writer, {"result": result} | ({"missed": missed} if missed else {}))
            missed = 0

    end = stream.follow(emit)
    _write(writer, {"result": None})
    try:
        while await reader.read(MAX_LINE):
            pass
    finally:
        end()


def _write(writer: asyncio.StreamWriter, answer: dict[str, object]) -> None:
    writer.write(json.dumps(answer, default=str).encode() + b"\n")


def may_command(peer: socket.socket) -> bool:
    """Whether the process at the other end of a unix socket is root's, ours, or of our group."""
    _pid, uid, gid = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid in (0, os.geteuid()) or gid == os.getegid():
        return True
    try:
        groups = peer.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * MAX_GROUPS)
    except OSError:
        return False
    return os.getegid() in struct.unpack(f"{len(groups) // 4}I", groups)


def follow(path: Path, command: str, **arguments: object) -> Iterator[tuple[object, int]]:
    """What the daemon tells from the moment this returns, each with how much was missed before it.

    Raises CommandError as `ask` does, at once or when the daemon ends.
    """
    client = _connected(path)
    lines = client.makefile("rb")
    try:
        _request(client, command, arguments)
        _result(path, lines.readline())  # it has begun
    except BaseException:
        client.close()
        raise

    def told() -> Iterator[tuple[object, int]]:
        with client:
            while True:
                answer = _result(path, lines.readline())
                yield answer["result"], answer.get("missed", 0)

    return told()


def _connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except OSError as error:
        client.close()
        raise CommandError(f"no daemon answers at {path}: {error.strerror}") from error
    return client


def _request(client: socket.socket, command: str, arguments: dict[str, object]) -> None:
    with suppress(BrokenPipeError):  # then it has said why, and left
        client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")


def _result(path: Path, line: bytes) -> dict[str, Any]:
    if not line:
        raise CommandError(f"the daemon at {path} ended the connection")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise CommandError(answer["error"])
    return answer


def ask(path: Path, command: str, **arguments: object) -> object:
    """What the daemon answers. Raises CommandError with the line that the user reads."""
    with _connected(path) as client:
        _request(client, command, arguments)
        return _result(path, client.makefile("rb").readline())["result"]


def show(subjects: Mapping[str, Callable[[], object]], subject: str) -> object:
    if subject not in subjects:
        raise CommandError(f"nothing called {subject}; there is: {', '.join(subjects)}")
    return subjects[subject]()


def print_result(result: object, as_json: bool) -> None:
    """Rows (a list of objects) as a table, an object as two columns, or all of it as JSON."""
    if as_json:
        click.echo(json.dumps(result, indent=2))
    elif isinstance(result, dict):
        _print_table([{"name": name, "value": value} for name, value in result.items()])
    elif isinstance(result, list):
        _print_table(result)


def _print_table(rows: list[dict[str, object]]) -> None:
    if not rows:
        click.echo("none")
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))  # what one row has others may lack
    cells = [columns, *([_text(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "-" if value is None else str(value)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
