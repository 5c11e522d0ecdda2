"""One measured run: a lab, traffic, handovers; what was seen of it in a run directory (`run_directory.py`).

`testbed/measurement/` makes figures of it. Nothing here knows whether it runs natively or in the virtual machine.
While a handover is under way this process sleeps: on one processor it would be in its way.
"""

import gc
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from ipaddress import IPv6Interface
from pathlib import Path
from typing import Any

from common.control import ask
from common.schemes import SCHEMES
from testbed.lab.lab import Lab
from testbed.lab.node import Node, now_ns, sleep_until, wait_until
from testbed.lab.processor import one_processor
from testbed.run.announcement import Announcer, Departure
from testbed.run.capture import Capture, capture_all, stop_all
from testbed.run.load import Flows, Traffic
from testbed.run.mirror import COPIES, mirror
from testbed.run.scenario import Scenario
from testbed.run.traffic import Load
from testbed.tcp.stream import TcpLoad

Progress = Callable[[str], Any]

# From the attach: the handover, and twice as much for what follows it, before anybody looks.
_UNDISTURBED_S, _UNDISTURBED_RTTS = 0.100, 4
# Of traffic in both directions before the first handover, between two, and after the last one.
_STEADY_S = 0.300
# Until the next handover, for what this process does meanwhile: per run, per MN (reading its ping's words).
_SLACK_S, _SLACK_PER_MN_S = 0.060, 0.003
# With signalling lost, registrations take several retransmissions (RFC 5213 section 6.9.4: 1, 2, 4, … s).
_HANDOVER_TIMEOUT_S = 90.0


def run(
    spec: Mapping[str, Any],
    directory: str | Path,
    progress: Progress,
    backend: str = "native",
    whole_captures: bool = True,
) -> None:
    """Make one measured run; the run directory is whole when this returns.

    `spec` holds `Scenario`'s fields. Without `whole_captures` only that is captured which the measurement looks at, so
    that with many MNs the processor is left to them. Raises LabError in one line when the run cannot be trusted: a
    process that ended early, a capture that missed packets, an MN that lost its service for good.
    """
    scenario = Scenario.of(spec)
    records = Path(directory).absolute()
    for name in ("captures", "journals", "logs"):
        (records / name).mkdir(parents=True, exist_ok=True)
    progress(f"bringing up {scenario.mags} access routers and {scenario.mns} mobile nodes")
    with one_processor() as others, Lab(scenario.lab_spec(), records=records, daemons_on=others) as lab:
        report = _Run(scenario, lab, records, progress, whole_captures).measure()
    report["backend"] = backend
    (records / "run.json").write_text(json.dumps(report, indent=1))


class _Run:
    """The run while it goes on."""

    def __init__(self, scenario: Scenario, lab: Lab, records: Path, progress: Progress, whole_captures: bool) -> None:
        self._whole_captures = whole_captures
        self._scenario = scenario
        self._lab = lab
        self._records = records
        self._progress = progress
        self._mns = [mn.name for mn in lab.topology.mns]
        self._moves: list[dict[str, Any]] = []

    def measure(self) -> dict[str, Any]:
        """run.json without its "backend"."""
        places = self._scenario.places()
        here = next(places)
        flows = self._attach(here)
        self._warm_up(here)
        visible = {node.name: self._lab.nodes[node.name] for node in self._lab.topology.nodes if not node.hidden}
        logs = self._records / "logs"
        captures = self._capture(visible, logs)
        self._progress("starting ping and iperf3")
        tcp_load = TcpLoad(self._scenario.tcp_mbps) if self._scenario.tcp_mbps else None
        load = Load(self._scenario.rate_pps, self._scenario.packet_size)
        self._traffic = Traffic(self._lab, load, logs, flows, tcp_load)
        self._beats, self._number = self._traffic.start()
        start_ns = now_ns()
        gc.collect()
        gc.disable()  # no collection in a moment that is measured
        try:
            self._settle(start_ns)
            for index in range(self._scenario.count):
                there = next(places)
                self._progress(f"handover {index + 1} of {self._scenario.count}: {_routes(here, there)}")
                self._hand_over(index, here, there)
                here = there
        finally:
            gc.enable()
        self._progress("waiting for the last packets")
        stop_ns = self._traffic.pause(self._beats.at(self._number))
        # A request and its answer run behind the last packet of either direction.
        self._wait_for_answers(stop_ns)
        counted = self._traffic.end()
        stop_all(captures)
        self._lab.require_daemons()
        return {
            "spec": asdict(self._scenario),
            "kernel": os.uname().release,
            "nodes": {name: self._describe_node(name) for name in visible},
            "mns": {name: self._describe_mn(name, *flow) for name, flow in flows.items()},
            "moves": self._moves,
            "traffic": {"start_ns": start_ns, "stop_ns": stop_ns},
            **counted,
        }

    def _capture(self, visible: dict[str, Node], logs: Path) -> list[Capture]:
        directory = self._records / "captures"
        access = {mn.access_interface for mn in self._lab.topology.mns}
        for mag in self._lab.topology.mags:
            mirror(self._lab.nodes[mag], access)
        if self._whole_captures:
            return capture_all(visible, set(self._mns), directory, logs, {})
        # Mobility headers, and on a MAG what crosses its access links, and what it put on them.
        signalling = "ip6 proto 135 or ip6 proto 44"
        only = {"lma": signalling}
        for mag in self._lab.topology.mags:
            wanted = {*access, COPIES}
            indexes = [index for index, name in self._lab.network.interfaces(mag).items() if name in wanted]
            only[mag] = " or ".join([signalling, *(f"ifindex {index}" for index in indexes)])
        seen = {name: node for name, node in visible.items() if name != "inet"}
        return capture_all(seen, set(self._mns), directory, logs, only)

    def _attach(self, places: Mapping[str, str]) -> Flows:
        """What is measured: each MN, under each of its prefixes."""
        self._progress("mobile nodes attach and get their addresses")
        self._lab.network.air.attach(places)
        flows: Flows = {}
        for mn in self._mns:
            self._lab.wait_for_service(mn)
            for number, address in enumerate(self._lab.addresses(mn), 1):
                flows[mn if number == 1 else f"{mn}/{number}"] = mn, address
        return flows

    def _warm_up(self, start: Mapping[str, str]) -> None:
        """Every MN visits every MAG once: what a daemon and the kernel do for the first time takes longer."""
        self._progress("warming up")
        mags = self._lab.topology.mags
        here = start
        for step in range(1, len(mags) + 1):
            places = {mn: mags[(mags.index(mag) + step) % len(mags)] for mn, mag in start.items()}
            self._tell_whence(here, places)
            here = places
            self._lab.move_all(places, self._scenario.l2_ms / 1000)
            for mn in self._mns:
                self._lab.wait_for_service(mn, _HANDOVER_TIMEOUT_S)

    def _hand_over(self, index: int, here: Mapping[str, str], there: Mapping[str, str]) -> None:
        announced_ns = None
        leave_ns = self._beats.at(self._number)
        self._tell_whence(here, there)
        with ExitStack() as stack:
            if self._scenario.mode == "predictive":
                announcer = stack.enter_context(Announcer(self._departure(mn, here[mn], there[mn]) for mn in self._mns))
                # The last packet that goes down the old path is then delivered right before the MN leaves.
                lead_s = SCHEMES[self._scenario.scheme].round_trips * self._lab.topology.rtt_s
                announced_ns = leave_ns - round(lead_s * 1e9)
                sleep_until(announced_ns)
                announcer.announce()
            detached, attached = self._lab.move_all(there, self._scenario.l2_ms / 1000, leave_ns)
            if announced_ns is not None:
                announcer.require_done()
        self._moves += [
            {
                "index": index,
                "mn": mn,
                "from": here[mn],
                "to": there[mn],
                "detach_ns": detached.began_ns,
                "attach_ns": attached.began_ns,
                "detach_done_ns": detached.done_ns,
                "attach_done_ns": attached.done_ns,
                "announced_ns": announced_ns,
            }
            for mn in self._mns
        ]
        self._settle(attached.done_ns)

    def _tell_whence(self, here: Mapping[str, str], there: Mapping[str, str]) -> None:
        """The link layer's part: nMAG knows which MAG the MN comes from, should it come (in 802.11 the Reassociation
        Request says so). Long before it leaves, so that the saying is in nobody's way."""
        if not SCHEMES[self._scenario.scheme].between_mags:
            return
        topology = self._lab.topology
        for mn, nmag in there.items():
            whence = str(topology.addresses[here[mn]])
            ask(self._lab.control_socket(nmag), "expect", mn_id=topology.mn(mn).mn_id, previous_mag=whence)

    def _departure(self, mn: str, pmag: str, nmag: str) -> Departure:
        topology = self._lab.topology
        return Departure(topology.mn(mn).mn_id, self._lab.control_socket(pmag), str(topology.addresses[nmag]))

    def _settle(self, since_ns: int) -> None:
        """Return when every MN has had service both ways since that moment; set the beat at which things may go on.

        That is the same number of beats later each time: only who is served late, after lost signalling, puts it off.
        """
        scenario, rtt_s = self._scenario, self._lab.topology.rtt_s
        undisturbed_s = _UNDISTURBED_S + _UNDISTURBED_RTTS * rtt_s
        planned_s = scenario.l2_ms / 1000 + undisturbed_s + _STEADY_S + _SLACK_S + _SLACK_PER_MN_S * len(self._mns)
        time.sleep(undisturbed_s)  # looking on would be in the way of what happens
        self._wait_for_answers(since_ns)
        steady = self._beats.first_after(now_ns() + round((rtt_s + _STEADY_S) * 1e9))
        self._number = max(self._number + self._beats.beats(planned_s + rtt_s), steady)
        self._lab.require_daemons()
        self._traffic.require_alive()

    def _wait_for_answers(self, since_ns: int) -> None:
        for mn in self._mns:
            wait_until(
                lambda mn=mn: self._traffic.answered_since(mn, since_ns),  # type: ignore[misc]
                f"{mn} is not served again",
                _HANDOVER_TIMEOUT_S,
            )

    def _describe_node(self, name: str) -> dict[str, Any]:
        address = self._lab.topology.addresses.get(name)
        return {
            **({"address": str(address)} if address else {}),
            "interfaces": self._lab.network.interfaces(name),
        }

    def _describe_mn(self, name: str, node: str, address: IPv6Interface) -> dict[str, Any]:
        mn = self._lab.topology.mn(node)
        return {
            "mn_id": mn.mn_id,
            "node": node,
            "hnp": str(address.network),
            "address": str(address.ip),
            "interface": mn.interface,
            "access": dict.fromkeys(self._lab.topology.mags, mn.access_interface),
            **self._traffic.ports(name),
        }


def _routes(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    routes = {f"{here[mn]} to {there[mn]}" for mn in here}
    return next(iter(routes)) if len(routes) == 1 else f"{len(here)} mobile nodes"
