"""The control socket: a person's questions and commands to a running daemon, one JSON object per line each way.

Request `{"command": "show", "subject": "bindings"}`; answer `{"result": ...}` or `{"error": "one line"}`. Who may open
the socket file may command the daemon: it is created with mode 0660.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from common.errors import ConfigError

Handler = Callable[..., object]
MODE = 0o660
MAX_LINE = 1 << 16


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
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line), default=str).encode() + b"\n")
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
        except TypeError as error:
            return {"error": f"wrong arguments: {error}"}


def ask(path: Path, command: str, **arguments: object) -> object:
    """What the daemon answers. Raises CommandError with the line that the user reads."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            line = client.makefile("rb").readline()
    except OSError as error:
        raise CommandError(f"no daemon answers at {path}: {error.strerror}") from error
    if not line:
        raise CommandError(f"the daemon at {path} ended the connection")
    answer = json.loads(line)
    if "error" in answer:
        raise CommandError(answer["error"])
    return answer["result"]


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
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
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
