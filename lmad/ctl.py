"""lmactl: ask a running lmad."""

from pathlib import Path

import click

from common.command_line import one_clear_line
from common.control import ask, print_result


@click.group()
@click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    default=Path("/run/context-reflector/lmad.sock"),
    envvar="LMACTL_SOCKET",
    show_default=True,
    show_envvar=True,
    help="lmad's control socket",
)
@click.pass_context
def main(context: click.Context, path: Path) -> None:
    """Ask a running local mobility anchor."""
    context.obj = path


@main.command()
@click.argument("subject", type=click.Choice(["bindings", "contexts", "holds", "mags", "counters"]))
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.pass_obj
def show(path: Path, subject: str, as_json: bool) -> None:
    """Show bindings, contexts (CCEs), holds, mags or counters."""
    with one_clear_line("lmactl"):
        print_result(ask(path, "show", subject=subject), as_json)


if __name__ == "__main__":
    main()
