"""`testbed report`: draw again what was measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("json_path", metavar="JSON", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="[default: where the JSON is]")
def report(json_path: Path, out: Path | None) -> None:
    """Make a page of what `testbed compare --json JSON` measured; nothing is measured again."""
    click.echo(write(json_path, out or json_path.parent, lambda text: click.echo(text, err=True)))


def write(json_path: Path, out: Path, progress: Callable[[str], Any]) -> Path:
    """The page of that comparison, in `out`. What is wrong with it is a ClickException."""
    from testbed.report import page  # noqa: PLC0415 - matplotlib takes a second to load, and few commands need it

    try:
        return page.build(json_path, out, progress)
    except page.ReportError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
