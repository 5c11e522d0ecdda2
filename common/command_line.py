"""What all command lines share: exit codes 0 done, 1 refused or failed, 2 bad usage or configuration."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import TypeVar

import click

from common import logs
from common.control import CommandError, ask, follow, print_result
from common.errors import ConfigError, DataPlaneError
from common.trace import line as trace_line

T = TypeVar("T")


@contextmanager
def one_clear_line(program: str) -> Iterator[None]:
    """Turn the errors that have a cause outside the program into one line and an exit code."""
    try:
        yield
    except ConfigError as error:
        click.echo(f"{program}: {error}", err=True)
        sys.exit(2)
    except (CommandError, DataPlaneError) as error:
        click.echo(f"{program}: {error}", err=True)
        sys.exit(1)
    except PermissionError as error:
        click.echo(f"{program}: {error.strerror}: {error.filename or 'needs CAP_NET_ADMIN and CAP_NET_RAW'}", err=True)
        sys.exit(1)
    except FileNotFoundError as error:
        click.echo(f"{program}: {error.strerror}: {error.filename}", err=True)
        sys.exit(1)


def daemon_command(
    program: str,
    purpose: str,
    load: Callable[[Path], T],
    run: Callable[[Path, T], None],
    replay: Callable[[Path], tuple[int, str | None]],
) -> click.Command:
    """The command line of a daemon: `load` reads its file, `run` serves by it until SIGTERM; replay.py has `replay`."""

    def replayed(context: click.Context, _option: click.Parameter, journal: Path | None) -> None:
        if journal and not context.resilient_parsing:
            with one_clear_line(program):
                alike, difference = replay(journal)
            click.echo(difference or f"{alike} inputs answered alike")
            context.exit(1 if difference else 0)

    @click.command(program, help=purpose)
    @click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="the TOML file")
    @click.option("--check", is_flag=True, help="validate the file and exit")
    @click.option(
        "--replay",
        metavar="JOURNAL",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=replayed,
        help="instead: tell the protocol what a journal with inputs says, and compare its answers; nothing is sent",
    )
    def main(path: Path, check: bool) -> None:
        with one_clear_line(program):
            config = load(path)
            if check:
                click.echo(f"{path}: good")
                return
            logs.start(program)
            run(path, config)

    return main


def ipv6_address(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """The callback of an option or argument that is one."""
    try:
        return None if value is None else str(IPv6Address(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def control_command(daemon: str, variable: str, purpose: str, subjects: Sequence[str]) -> click.Group:
    """The command line of a daemon's control program, with `show` and `trace`; their object is the socket's path."""
    program = variable.removesuffix("_SOCKET").lower()

    @click.group(help=purpose)
    @click.option(
        "--socket",
        "path",
        type=click.Path(path_type=Path),
        default=Path(f"/run/context-reflector/{daemon}.sock"),
        envvar=variable,
        show_default=True,
        show_envvar=True,
        help=f"{daemon}'s control socket",
    )
    @click.pass_context
    def main(context: click.Context, path: Path) -> None:
        context.obj = path

    @main.command(help=f"Show {', '.join(subjects[:-1])} or {subjects[-1]}.")
    @click.argument("subject", type=click.Choice(subjects))
    @click.option("--json", "as_json", is_flag=True, help="print JSON")
    @click.pass_obj
    def show(path: Path, subject: str, as_json: bool) -> None:
        with one_clear_line(program):
            print_result(ask(path, "show", subject=subject), as_json)

    @main.command()
    @click.argument("mn_id")
    @click.option("--json", "as_json", is_flag=True, help="print a JSON object for each line")
    @click.pass_obj
    def trace(path: Path, mn_id: str, as_json: bool) -> None:
        """Follow the messages and events of one mobile node, until Ctrl-C."""
        with one_clear_line(program), suppress(KeyboardInterrupt):
            for row, missed in follow(path, "trace", mn_id=mn_id):
                if missed:
                    click.echo(f"{program}: {missed} lines were missed", err=True)
                assert isinstance(row, dict)
                click.echo(json.dumps(row) if as_json else trace_line(row))

    return main
