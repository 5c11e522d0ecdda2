"""What all command lines share: exit codes 0 done, 1 refused or failed, 2 bad usage or configuration."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from common.control import CommandError
from common.errors import ConfigError, DataPlaneError

LOG_FORMAT = "%(levelname)s %(message)s"


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


def log_to_stderr() -> None:
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format=LOG_FORMAT, stream=sys.stderr)
