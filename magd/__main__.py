"""magd: the mobile access gateway as a daemon."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv6Address
from pathlib import Path

from common import descriptors
from common.actions import Action, Note
from common.command_line import daemon_command
from common.control import ControlServer, Handler, show
from common.daemon import Shell, only_one, utc
from common.dataplane.access import Before
from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from common.dataplane.linux import LinuxDataPlane
from common.dataplane.roles import MAG
from common.errors import ConfigError
from common.journal import Journal
from common.metrics import metrics
from common.mh import codec
from common.mh.raw_socket import MhSockets
from common.persistence import Persistence
from common.phases import MAG_PHASES
from common.recording import Recorder
from common.records import Recorded, Table
from common.reload import Reloading
from common.replay import replay
from common.store import birth
from common.trace import trace
from magd.adoption import adopt, life, occupied, relive, tables
from magd.attachment.link import LinkSource
from magd.attachment.neighbour_discovery import NeighbourDiscoverySource
from magd.attachment.neighbours import Neighbours
from magd.attachment.path_mtu import PathMtu
from magd.commands import steering
from magd.config import RELOADABLE, MagdConfig, load_config
from magd.handover import SCHEMES
from magd.mag import MobileAccessGateway
from magd.router_advertisement import Advertiser
from magd.show import mobile_nodes, subjects


def run(path: Path, config: MagdConfig) -> None:
    """Serve in the foreground. At the end everything that was installed is removed, unless it is to be kept."""
    codec.use(config.extension.code_points())
    mag = config.mag
    with only_one("magd"), MhSockets(mag.address, config.guard.peers) as mh:
        kept = descriptors.inherited()
        links: Recorded[str, Before] = Recorded()
        data_plane = LinuxDataPlane(
            MAG,
            access_interfaces=mag.access_interfaces,
            keep=_keep(config),
            guard=config.guard,
            local_routing=mag.enable_mag_local_routing,
            inherited=kept,
            links=links,
            neighbours=SCHEMES[mag.scheme].tunnels(config),
            router=config.router,
        )
        journal = Journal(mag.journal)
        recorder = Recorder(journal, utc) if mag.journal_inputs else None
        clock = recorder.utc if recorder else utc
        # A restarted MAG must not repeat the numbers of its last life (RFC 5213 section 5.5).
        core = MobileAccessGateway(config, clock, sequence=int(time.time()) & 0xFFFF, restart_counter=birth())
        stored = (*tables(core, mag.scheme), Table("access-link", links, str, Before))
        persistence = Persistence.open(mag.state_directory, "magd", stored)
        lost = persistence is None or persistence.lost
        if persistence:
            core.anchors.heartbeats.restart_counter = persistence.restart_counter
        keep = persistence is not None  # an end that nobody asked for leaves all to the next start
        try:
            now = time.monotonic()
            sessions = adopt(core, persistence.loaded, config, now) if persistence else []
            if recorder:
                loaded = persistence.loaded if persistence else None
                core = recorder.watch(core, life(core, loaded, config, now))
            links.update(persistence.loaded["access-link"] if persistence else {})
            strays = data_plane.start(mag.address, config.lmas, sessions)
            descriptors.give({name: fd for name, fd in data_plane.descriptors().items() if name not in kept})
            adopted = (len(sessions), strays)
            asyncio.run(
                _serve(
                    config,
                    core,
                    data_plane,
                    mh,
                    journal,
                    path=path,
                    persistence=persistence,
                    adopted=adopted,
                    lost=lost,
                )
            )
            keep = mag.on_stop == "keep"
        finally:
            if not keep:
                descriptors.take_back(data_plane.descriptors())
            data_plane.close(keep=keep)
            journal.close()
            if persistence:
                persistence.close()


def _keep(config: MagdConfig) -> Keep | None:
    """What the scheme lets wait in the kernel."""
    scheme = SCHEMES[config.mag.scheme]
    packets = scheme.hold_packets(config)
    if packets is None:
        return None
    return Keep(
        HoldLimits(packets),
        patience=config.mag.early_packet_lifetime,
        uplink=scheme.keeps_uplink,
        give_back=scheme.gives_back,
    )


async def _serve(
    config: MagdConfig,
    core: MobileAccessGateway,
    data_plane: LinuxDataPlane,
    mh: MhSockets,
    journal: Journal,
    *,
    path: Path,
    persistence: Persistence | None,
    adopted: tuple[int, int],
    lost: bool,
) -> None:
    mag = config.mag
    advertiser = Advertiser(config.router, managed=mag.dhcpv6 == "stateful", other=mag.dhcpv6 != "none")

    def follow(wanted: MagdConfig) -> None:
        if new := set(wanted.lmas) - set(config.lmas):
            raise ConfigError(f"not without a restart: a tunnel to {min(new)}")
        shell.meet(wanted.guard.peers)
        data_plane.reach(wanted.lmas, wanted.guard.peers)
        shell.reach(wanted.guard.peers)
        shell.feed(core.follow(wanted, time.monotonic()))
        links.tell_again()

    def told(event: Callable[..., list[Action]]) -> Callable[..., None]:
        """The core hears of it now, and what it says is done."""
        return lambda *arguments: shell.feed(event(*arguments, time.monotonic()))

    def solicited(interface: str, mac: bytes, address: IPv6Address) -> None:
        attaches = "router-solicitation" in mag.attachment
        shell.feed(core.solicited(interface, mac, attaches, time.monotonic(), address))

    def flooded(interface: str) -> None:
        shell.feed([Note("solicitations-flood", detail=interface)])

    def replaced(interface: str) -> None:
        shell.feed([Note("access-link-replaced", detail=f"{interface}: without service until a restart")])

    def heard_soon(interface: str, mac: bytes, address: IPv6Address) -> None:
        """The core is being asked already when the kernel's word comes."""
        asyncio.get_running_loop().call_soon(told(core.heard), interface, mac, address)

    def start_sources() -> None:
        path_mtu.start()
        shell.feed(core.started(lost, time.monotonic()))
        solicitations.start()
        links.start()

    neighbours = Neighbours(config.router, heard_soon)
    shell = Shell(core, data_plane, mh, journal, advertiser.send, solicit=neighbours.solicit, persistence=persistence)
    shell.adopted(*adopted)

    reloading = Reloading(path, config, RELOADABLE, follow)
    what = {**subjects(config, core, shell, time.monotonic), "configuration": reloading.show}
    commands: dict[str, Handler] = {
        "show": lambda subject: show(what, subject),
        "trace": lambda mn_id: trace(shell.journal, mn_id),
        **steering(config, core, shell.feed, time.monotonic),
    }
    watched = mag.access_interfaces if "link" in mag.attachment else ()
    links = LinkSource(watched, told(core.link_up), told(core.link_down), replaced, occupied(core))
    solicitations = NeighbourDiscoverySource(mag.access_interfaces, solicited, told(core.heard), flooded)
    path_mtu = PathMtu(
        config.lmas,
        mag.access_interfaces,
        data_plane.tunnel_device,
        lambda lma, mtu: shell.feed(core.path_mtu(lma, mtu)),
        lambda interface, mtu: shell.feed(core.link_mtu(interface, mtu)),
    )
    scrapes = (mag.metrics_address, mag.metrics_port)
    async with ControlServer(mag.control_socket, commands):
        reachable = core.anchors.heartbeats.reachable
        served = metrics(scrapes, shell, mobile_nodes(core), MAG_PHASES, time.monotonic, reachable=reachable)
        with ExitStack() as sources, served:
            for source in (path_mtu, solicitations, links, neighbours, advertiser):
                sources.callback(source.close)
            await shell.serve(start_sources, reloading.reload)


def _replay(journal: Path) -> tuple[int, str | None]:
    return replay(journal, MobileAccessGateway, MagdConfig, relive)


main = daemon_command("magd", "Serve as mobile access gateway (RFC 5213) until SIGTERM.", load_config, run, _replay)

if __name__ == "__main__":
    main()
