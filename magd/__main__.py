"""magd: the mobile access gateway as a daemon."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv6Address

from common.actions import Action
from common.command_line import daemon_command
from common.control import CommandError, ControlServer, Handler, show
from common.daemon import Shell, only_one, utc
from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from common.dataplane.linux import MAG, LinuxDataPlane
from common.journal import Journal
from common.metrics import metrics
from common.mh import codec
from common.mh.messages import MnId
from common.mh.raw_socket import open_mh_socket
from common.phases import MAG_PHASES
from common.trace import trace
from magd.attachment.link import LinkSource
from magd.attachment.router_solicitation import RouterSolicitationSource
from magd.binding_update_list import SERVED
from magd.config import MagdConfig, load_config
from magd.handover import SCHEMES
from magd.mag import MobileAccessGateway
from magd.router_advertisement import Advertiser
from magd.show import mobile_nodes, subjects


def run(config: MagdConfig) -> None:
    """Serve in the foreground. Everything that was installed is removed at the end, however it comes."""
    codec.use(config.extension.code_points())
    mag = config.mag
    with only_one("magd"), open_mh_socket(mag.address) as mh_socket:
        data_plane = LinuxDataPlane(MAG, access_interfaces=mag.access_interfaces, keep=_keep(config))
        journal = Journal(mag.journal)
        try:
            data_plane.start(mag.address, [mag.lma])
            # A restarted MAG must not repeat the numbers of its last life (RFC 5213 section 5.5).
            core = MobileAccessGateway(config, utc, sequence=int(time.time()) & 0xFFFF)
            core.mtu = data_plane.mtu(mag.lma)
            advertiser = Advertiser()
            shell = Shell(core, data_plane, mh_socket, journal, advertiser.send)
            asyncio.run(_serve(config, core, shell))
        finally:
            data_plane.close()
            journal.close()


def _keep(config: MagdConfig) -> Keep | None:
    """What the scheme lets wait in the kernel."""
    scheme = SCHEMES[config.mag.scheme]
    packets = scheme.hold_packets(config)
    if packets is None:
        return None
    return Keep(HoldLimits(packets), uplink=scheme.keeps_uplink, give_back=scheme.gives_back)


async def _serve(config: MagdConfig, core: MobileAccessGateway, shell: Shell) -> None:
    mag = config.mag

    def told(event: Callable[..., list[Action]]) -> Callable[..., None]:
        """The core hears of it now, and what it says is done."""
        return lambda *arguments: shell.feed(event(*arguments, time.monotonic()))

    def attach(mn_id: str, interface: str | None) -> None:
        where = interface or next((node.interface for node in config.mobile_node if node.mn_id == mn_id), None)
        if where is None:
            raise CommandError(f"{mn_id} has no profile that names an interface: say which")
        if where not in mag.access_interfaces:
            raise CommandError(f"{where} is not among mag.access_interfaces")
        if not any(node.mn_id == mn_id for node in config.mobile_node):
            raise CommandError(f"{mn_id} has no policy profile here")
        told(core.attached)(MnId.nai(mn_id), where)

    def detach(mn_id: str) -> None:
        if MnId.nai(mn_id) not in core.binding_update_list:
            raise CommandError(f"{mn_id} is not attached")
        told(core.detached)(MnId.nai(mn_id))

    def handover(mn_id: str, nmag: str | None) -> None:
        try:
            address = IPv6Address(nmag) if nmag else None
        except ValueError as error:
            raise CommandError(f"not an IPv6 address: {error}") from error
        if not core.predictive:
            raise CommandError(f"scheme {mag.scheme} does nothing before an MN has left")
        entry = core.binding_update_list.get(MnId.nai(mn_id))
        if entry is None or entry.state not in SERVED:
            raise CommandError(f"{mn_id} is not served here")
        if not core.can_announce(MnId.nai(mn_id), address):
            raise CommandError(f"scheme {mag.scheme} needs to know where {mn_id} goes, and an LMA that speaks it")
        told(core.handover)(MnId.nai(mn_id), address)

    def solicited(interface: str, mac: bytes) -> None:
        attaches = "router-solicitation" in mag.attachment
        shell.feed(core.solicited(interface, mac, attaches, time.monotonic()))

    def start_sources() -> None:
        solicitations.start()
        links.start()

    what = subjects(config, core, shell, time.monotonic)
    commands: dict[str, Handler] = {
        "show": lambda subject: show(what, subject),
        "attach": attach,
        "detach": detach,
        "trace": lambda mn_id: trace(shell.journal, mn_id),
        "handover": handover,
    }
    links = LinkSource(
        mag.access_interfaces if "link" in mag.attachment else (), told(core.link_up), told(core.link_down)
    )
    solicitations = RouterSolicitationSource(mag.access_interfaces, solicited)
    scrapes = (mag.metrics_address, mag.metrics_port)
    async with ControlServer(mag.control_socket, commands):
        with ExitStack() as sources, metrics(scrapes, shell, mobile_nodes(core), MAG_PHASES, time.monotonic):
            for source in (solicitations, links):
                sources.callback(source.close)
            await shell.serve(start_sources)


main = daemon_command("magd", "Serve as mobile access gateway (RFC 5213) until SIGTERM.", load_config, run)

if __name__ == "__main__":
    main()
