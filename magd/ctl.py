"""magctl: ask and steer a running magd."""

from pathlib import Path

import click

from common.command_line import control_command, ipv6_address, one_clear_line
from common.control import ask

SUBJECTS = ("mobile-nodes", "contexts", "lmas", "counters", "configuration")

main = control_command("magd", "MAGCTL_SOCKET", "Ask and steer a running mobile access gateway.", SUBJECTS)


@main.command()
@click.argument("mn_id")
@click.argument("interface", required=False)
@click.option(
    "--previous-mag",
    metavar="ADDRESS",
    callback=ipv6_address,
    help="the MAG that it comes from, if the link layer can tell",
)
@click.pass_obj
def attach(path: Path, mn_id: str, interface: str | None, previous_mag: str | None) -> None:
    """Say that the MN has come, on INTERFACE (or on the link that its profile names)."""
    with one_clear_line("magctl"):
        ask(path, "attach", mn_id=mn_id, interface=interface, previous_mag=previous_mag)


@main.command()
@click.argument("mn_id")
@click.argument("previous_mag", callback=ipv6_address)
@click.pass_obj
def expect(path: Path, mn_id: str, previous_mag: str) -> None:
    """Say that the MN, should it come, comes from the MAG with the address PREVIOUS_MAG.

    Link layers tell so before the link is up: in 802.11 the Reassociation Request names the old access point.
    """
    with one_clear_line("magctl"):
        ask(path, "expect", mn_id=mn_id, previous_mag=previous_mag)


@main.command()
@click.argument("mn_id")
@click.pass_obj
def detach(path: Path, mn_id: str) -> None:
    """Say that the MN has left."""
    with one_clear_line("magctl"):
        ask(path, "detach", mn_id=mn_id)


@main.command()
@click.argument("mn_id")
@click.argument("nmag", required=False, callback=ipv6_address)
@click.pass_obj
def handover(path: Path, mn_id: str, nmag: str | None) -> None:
    """Say that the MN is about to leave, for the MAG with the address NMAG if that is known."""
    with one_clear_line("magctl"):
        ask(path, "handover", mn_id=mn_id, nmag=nmag)


if __name__ == "__main__":
    main()
