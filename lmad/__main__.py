"""lmad: the local mobility anchor as a daemon."""

import asyncio
import time
from pathlib import Path

from common import descriptors
from common.command_line import daemon_command
from common.control import ControlServer, Handler, show
from common.daemon import Shell, only_one, utc
from common.dataplane.guard import Guard
from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from common.dataplane.linux import LinuxDataPlane
from common.dataplane.roles import LMA
from common.journal import Journal
from common.metrics import metrics
from common.mh import codec
from common.mh.raw_socket import MhSockets
from common.persistence import Persistence
from common.phases import LMA_PHASES
from common.recording import Recorder
from common.reload import Reloading
from common.replay import replay
from common.store import birth
from common.trace import trace
from lmad.adoption import adopt, life, relive, tables
from lmad.commands import commands
from lmad.config import RELOADABLE, LmadConfig, load_config
from lmad.handover import SCHEMES
from lmad.lma import LocalMobilityAnchor
from lmad.show import bindings, subjects


def run(path: Path, config: LmadConfig) -> None:
    """Serve in the foreground. At the end everything that was installed is removed, unless it is to be kept."""
    codec.use(config.extension.code_points())
    peers = tuple(mag.address for mag in config.mag)
    with only_one("lmad"), MhSockets(config.lma.address, peers) as mh:
        guard = Guard(peers, config.lma.signalling_rate, config.lma.signalling_burst)
        kept = descriptors.inherited()
        data_plane = LinuxDataPlane(LMA, pools=config.lma.prefix_pools, keep=_keep(config), guard=guard, inherited=kept)
        journal = Journal(config.lma.journal)
        recorder = Recorder(journal, utc) if config.lma.journal_inputs else None
        core = LocalMobilityAnchor(config, recorder.utc if recorder else utc, restart_counter=birth())
        scheme = config.lma.scheme
        persistence = Persistence.open(config.lma.state_directory, "lmad", tables(core, scheme))
        lost = persistence is None or persistence.lost
        if persistence:
            core.heartbeats.restart_counter = persistence.restart_counter
        keep = persistence is not None  # an end that nobody asked for leaves all to the next start
        try:
            sessions = adopt(core, persistence.loaded, scheme) if persistence else []
            if recorder:
                loaded = persistence.loaded if persistence else None
                core = recorder.watch(core, life(core, loaded, config, time.monotonic()))
            strays = data_plane.start(config.lma.address, peers, sessions)
            descriptors.give({name: fd for name, fd in data_plane.descriptors().items() if name not in kept})
            shell = Shell(core, data_plane, mh, journal, persistence=persistence)
            shell.adopted(len(sessions), strays)

            def follow(wanted: LmadConfig) -> None:
                reached = [mag.address for mag in wanted.mag]
                shell.meet(reached)
                data_plane.reach(reached)
                shell.reach(reached)
                core.follow(wanted, time.monotonic())

            asyncio.run(_serve(Reloading(path, config, RELOADABLE, follow), core, shell, lost=lost))
            keep = config.lma.on_stop == "keep"
        finally:
            if not keep:
                descriptors.take_back(data_plane.descriptors())
            data_plane.close(keep=keep)
            journal.close()
            if persistence:
                persistence.close()


def _keep(config: LmadConfig) -> Keep | None:
    """What the scheme lets wait in the kernel."""
    if not SCHEMES[config.lma.scheme].holds:
        return None
    options = config.context_reflector
    limits = HoldLimits(
        packets=options.hold_packets,
        octets=options.hold_size,
        packets_in_all=options.hold_packets_in_all,
        octets_in_all=options.hold_size_in_all,
        sessions=options.hold_mobile_nodes,
    )
    return Keep(limits, patience=options.returned_packet_lifetime)


async def _serve(reloading: Reloading[LmadConfig], core: LocalMobilityAnchor, shell: Shell, *, lost: bool) -> None:
    lma = reloading.config.lma
    what = {**subjects(core, shell, time.monotonic), "configuration": reloading.show}
    handlers: dict[str, Handler] = {
        "show": lambda subject: show(what, subject),
        "trace": lambda mn_id: trace(shell.journal, mn_id),
        **commands(core, shell, time.monotonic),
    }
    scrapes = (lma.metrics_address, lma.metrics_port)
    async with ControlServer(lma.control_socket, handlers):
        with metrics(scrapes, shell, bindings(core), LMA_PHASES, time.monotonic, reachable=core.heartbeats.reachable):
            await shell.serve(lambda: shell.feed(core.started(lost, time.monotonic())), reload=reloading.reload)


def _replay(journal: Path) -> tuple[int, str | None]:
    return replay(journal, LocalMobilityAnchor, LmadConfig, relive)


main = daemon_command("lmad", "Serve as local mobility anchor (RFC 5213) until SIGTERM.", load_config, run, _replay)

if __name__ == "__main__":
    main()
