"""magctl: ask and steer a running magd."""

from pathlib import Path

import click

from common.command_line import control_command, one_clear_line
from common.control import ask

SUBJECTS = ("mobile-nodes", "contexts", "lmas", "counters", "configuration")

main = control_command("magd", "MAGCTL_SOCKET", "Ask and steer a running mobile access gateway.", SUBJECTS)


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
