"""magctl: ask and steer a running magd."""

from pathlib import Path

import click

from common.command_line import one_clear_line
from common.control import ask, print_result


@click.group()
@click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    default=Path("/run/context-reflector/magd.sock"),
    envvar="MAGCTL_SOCKET",
    show_default=True,
    show_envvar=True,
    help="magd's control socket",
)
@click.pass_context
def main(context: click.Context, path: Path) -> None:
    """Ask and steer a running mobile access gateway."""
    context.obj = path


@main.command()
@click.argument("subject", type=click.Choice(["mobile-nodes", "contexts", "lmas", "counters"]))
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.pass_obj
def show(path: Path, subject: str, as_json: bool) -> None:
    """Show mobile-nodes, contexts, lmas or counters."""
    with one_clear_line("magctl"):
        print_result(ask(path, "show", subject=subject), as_json)


@main.command()
@click.argument("mn_id")
@click.argument("interface", required=False)
@click.pass_obj
def attach(path: Path, mn_id: str, interface: str | None) -> None:
    """Say that the MN has come, on INTERFACE (or on the link that its profile names)."""
    with one_clear_line("magctl"):
        ask(path, "attach", mn_id=mn_id, interface=interface)


@main.command()
@click.argument("mn_id")
@click.pass_obj
def detach(path: Path, mn_id: str) -> None:
    """Say that the MN has left."""
    with one_clear_line("magctl"):
        ask(path, "detach", mn_id=mn_id)


@main.command()
@click.argument("mn_id")
@click.argument("nmag", required=False)
@click.pass_obj
def handover(path: Path, mn_id: str, nmag: str | None) -> None:
    """Say that the MN is about to leave, for the MAG with the address NMAG if that is known."""
    with one_clear_line("magctl"):
        ask(path, "handover", mn_id=mn_id, nmag=nmag)


if __name__ == "__main__":
    main()
