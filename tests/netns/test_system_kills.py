"""kill -9 at random moments of handovers, with packets flowing: nothing is half-installed after the restart.

Every daemon is killed fifty times, at moments of its own in each handover, and started again at once. What waits
in the kernel is kept by whoever started it, as a service manager does (FDSTORE). Then nothing is lost, whoever died:
what a daemon decided is stored before anything follows from it, kernels forward and hold on their own meanwhile, and
messages that nobody was there to hear are sent again.
"""

import json
import random
import time
from collections import Counter
from ipaddress import IPv6Address
from signal import SIGKILL

import pytest

from common.dataplane.adoption import SETS
from common.dataplane.tunnels import device_name
from testbed.lab.processor import one_processor
from testbed.lab.topology import LMAA
from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, differences, eventually, served, settled, traces
from tests.netns.traffic import INTERVAL_S, Traffic

pytestmark = pytest.mark.netns

HANDOVERS = 25  # in each of them every daemon is killed twice
SEED = 6
L2_S = 0.05
# When a daemon is killed, in seconds from the moment the MN leaves: around that, and when much has just begun anew.
BEGINS_S = -0.1
AROUND_S = ((BEGINS_S, 0.4), (0.4, 2.0))
# Three daemons that are started again on a slow machine take longer than a context usually lives, or packets wait.
REFLECTOR, LONGER = "[context_reflector]\n", "[context_reflector]\ncontext_lifetime = 60.0\n"
MAG_EDITS = [(REFLECTOR, LONGER), ("[mag]\n", "[mag]\nearly_packet_lifetime = 60.0\n")]
PATIENT = {"lma": [(REFLECTOR, f"{LONGER}returned_packet_lifetime = 60.0\n")], "mag1": MAG_EDITS, "mag2": MAG_EDITS}
HOLD_PACKETS = 8192
SETS_OF_SESSIONS = set(SETS) - {"waiting", "queue_of_link"}  # the gates of links that nobody is on are closed
LASTING = ("uplink-not-from-serving-mag", "uplink-without-binding", "hold-bytes")


def installed(lab: SystemLab, node: str) -> set[tuple[str, ...]]:
    """What bears lmad's or magd's marks in a node: routes of prefixes, source rules, neighbours, elements of sets."""
    protocol = "213" if node == "lma" else "214"
    run = lab.nodes[node].run
    found: set[tuple[str, ...]] = set()
    for route in json.loads(run(["ip", "-j", "-6", "route", "show", "proto", protocol])):
        if not route["dst"].endswith("/36"):
            found.add(("route", route["dst"], route["dev"]))
    for rule in json.loads(run(["ip", "-j", "-6", "rule"])):
        if rule.get("protocol") == protocol:
            found.add(("rule", f"{rule['src']}/{rule['srclen']}", rule["iif"]))
    for neighbour in json.loads(run(["ip", "-j", "-6", "neigh", "show", "nud", "permanent"])):
        found.add(("neighbour", neighbour["dev"], neighbour["lladdr"]))
    table = "context_reflector_lmad" if node == "lma" else "context_reflector_magd"
    for item in json.loads(run(["nft", "-j", "list", "table", "ip6", table]))["nftables"]:
        for kind in ("set", "map"):
            for element in item.get(kind, {}).get("elem", ()):
                if item[kind]["name"] in SETS_OF_SESSIONS:
                    found.add(("element", item[kind]["name"], str(element)))
    return found


def wanted(lab: SystemLab, node: str) -> set[tuple[str, ...]]:
    """The same, from what the daemon says of its sessions; of none that is held."""
    found: set[tuple[str, ...]] = set()
    if node == "lma":
        for each in lab.show("lma", "bindings"):
            tunnel = device_name("pml", LMAA, IPv6Address(each["proxy_coa"]))
            found |= {("route", hnp, tunnel) for hnp in each["hnps"]}
        return found
    tunnel = device_name("pmg", IPv6Address(str(lab.topology.addresses[node])), LMAA)
    for each in lab.show(node, "mobile-nodes"):
        for hnp in each["hnps"]:
            found |= {
                ("route", hnp, each["interface"]),
                ("route", hnp, tunnel),
                ("rule", hnp, each["interface"]),
                ("neighbour", each["interface"], each["mn_ll_id"]),
                ("element", "served", str(int(IPv6Address(hnp.split("/")[0])) >> 64)),
            }
    return found


class Reaper:
    """Kills daemons and starts them again, while traffic goes on."""

    def __init__(self, lab: SystemLab, traffic: Traffic) -> None:
        self._lab = lab
        self._traffic = traffic
        self.starting: set[str] = set()
        self.kills = 0
        self.drops: Counter[tuple[str, str]] = Counter()

    def kill(self, node: str) -> None:
        if node in self.starting:
            self._wait_for(node)
        self.count(node)
        assert self._lab.end(node, SIGKILL) == -SIGKILL
        self.kills += 1
        self._lab._start_daemon(node)
        self.starting.add(node)

    def count(self, node: str) -> None:
        """The drops that the daemon knows of: those in nftables outlive it, those of queues are of this life."""
        for reason, count in self._lab.counters(node).items():
            if reason.startswith("kernel-dropped") and count:
                if reason.removeprefix("kernel-dropped-") in LASTING:
                    self.drops[node, reason] = count
                else:
                    self.drops[node, reason] += count

    def all_serve(self) -> None:
        while self.starting:
            self._wait_for(next(iter(self.starting)))

    def _wait_for(self, node: str) -> None:
        process, readiness = self._lab.daemons[node], self._lab.readiness[node]
        while not self._is_ready(node):
            self._traffic.until(time.monotonic() + INTERVAL_S)
            process.require_alive()
        assert readiness.kept
        self.starting.discard(node)

    def _is_ready(self, node: str) -> bool:
        readiness = self._lab.readiness[node]
        ready = False
        while readiness.pending():
            ready |= readiness.read()
        return ready


def test_daemons_killed_at_random_moments_lose_nothing() -> None:
    chance = random.Random(SEED)
    mags = ("mag1", "mag2")
    spec = LabSpec(mns=2, scheme="context-reflector", hold_packets=HOLD_PACKETS)
    with one_processor(), SystemLab(spec, PATIENT, persistent=True) as lab:
        mns = [mn.name for mn in lab.topology.mns]
        where = dict.fromkeys(mns, "mag1")
        addresses = {mn: lab.settle(mn, mag) for mn, mag in where.items()}
        began = time.monotonic()
        with Traffic(lab, addresses) as traffic:
            reaper = Reaper(lab, traffic)
            for _ in range(HANDOVERS):
                mn = chance.choice(mns)
                target = next(mag for mag in mags if mag != where[mn])
                events: list[tuple[float, int, str]] = [(0.0, 0, "leave"), (L2_S, 1, "arrive")]
                for node in ("lma", *mags):
                    events += [(chance.uniform(*around), 2, node) for around in AROUND_S]
                events.sort()
                start = time.monotonic() - BEGINS_S
                for moment, _, what in events:
                    traffic.until(start + moment)
                    if what == "leave":
                        lab.network.air.detach([mn], {})
                        traffic.off_air.add(mn)
                    elif what == "arrive":
                        lab.network.air.attach({mn: target})
                        traffic.off_air.discard(mn)
                        where[mn] = target
                    else:
                        reaper.kill(what)
                reaper.all_serve()
                # Of the last handover much may be open when the next one begins.
                traffic.wait_until(lambda: served(lab, where), "an MN is not served again")
            traffic.wait_until(lambda: settled(lab, where), "a handover is still open")
            for node in ("lma", *mags):
                eventually(lambda node=node: installed(lab, node) == wanted(lab, node), f"{node} has not what it wants")  # type: ignore[misc]
            traffic.drain()
            took = time.monotonic() - began
            reports = traffic.reports()
            for node in ("lma", *mags):
                reaper.count(node)
        drops = {f"{node} {reason}": count for (node, reason), count in reaper.drops.items()}
        print(json.dumps({"kills": reaper.kills, "seconds": round(took, 1), **reports, "drops": drops}))
        for report in reports.values():
            assert report["lost"] == report["duplicated"] == 0
            assert report["lost_on_air"] <= HANDOVERS


def test_services_that_are_restarted_in_mid_handover_lose_nothing() -> None:
    """`on_stop = "keep"`, while the MN is away and its packets are held; later the last stop leaves no trace."""
    keep = {node: [*PATIENT[node], ("\njournal =", '\non_stop = "keep"\njournal =')] for node in PATIENT}
    spec = LabSpec(scheme="context-reflector", hold_packets=HOLD_PACKETS)
    with one_processor(), SystemLab(spec, keep, persistent=True, traced=True) as lab:
        address = lab.settle("mn", "mag1")
        with Traffic(lab, {"mn": address}) as traffic:
            traffic.until(time.monotonic() + 0.2)
            lab.network.air.detach(["mn"], {})
            traffic.off_air.add("mn")
            traffic.wait_until(lambda: any(hold["packets"] for hold in lab.show("lma", "holds")), "nothing is held")
            for node in ("lma", "mag1", "mag2"):
                assert lab.end(node) == 0
                lab.start(node)
            assert [hold["packets"] > 0 for hold in lab.show("lma", "holds")] == [True]
            assert lab.counters("lma")["adopted"] == 1
            lab.network.air.attach({"mn": "mag2"})
            traffic.off_air.clear()
            traffic.wait_until(lambda: settled(lab, {"mn": "mag2"}), "the handover is still open")
            traffic.drain()
            reports = traffic.reports()
        for report in reports.values():
            assert report["lost"] == report["duplicated"] == report["reordered"] == 0, reports
        lab.network.air.detach(["mn"], {})
        eventually(lambda: not lab.serving(), "the LMA has not heard that the MN left")
        for node in ("lma", "mag1", "mag2"):
            path = lab.directory / f"{node}.toml"
            path.write_text(path.read_text().replace('on_stop = "keep"\n', ""))
            assert lab.end(node, SIGKILL) == -SIGKILL
            lab.start(node)
            assert lab.end(node) == 0
            assert differences(lab.before[node], traces(lab.nodes[node])) == {}
