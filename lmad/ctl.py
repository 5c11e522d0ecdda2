"""lmactl: ask and steer a running lmad."""

from pathlib import Path

import click

from common.command_line import control_command, ipv6_address, one_clear_line
from common.control import ask, print_result

SUBJECTS = ("bindings", "contexts", "holds", "mags", "counters", "configuration")

main = control_command("lmad", "LMACTL_SOCKET", "Ask and steer a running local mobility anchor.", SUBJECTS)


@main.command()
@click.argument("mn_id", required=False)
@click.option("--mag", metavar="ADDRESS", callback=ipv6_address, help="every session at the MAG with this address")
@click.option("--realm", metavar="REALM", help="with --mag: of these only the ones whose MN-ID ends in @REALM")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.pass_obj
def revoke(path: Path, mn_id: str | None, mag: str | None, realm: str | None, as_json: bool) -> None:
    """End the sessions of MN_ID, or all at a MAG, and tell the MAGs (RFC 5846)."""
    if (mn_id is None) == (mag is None) or (realm is not None and mag is None):
        raise click.UsageError("say MN_ID, or --mag, alone or with --realm")
    with one_clear_line("lmactl"):
        print_result(ask(path, "revoke", mn_id=mn_id, mag=mag, realm=realm), as_json)


if __name__ == "__main__":
    main()
