"""Metrics: each family of an anchor, every phase and state of a gateway, is counted when it happens."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from common.actions import Action
from common.daemon import utc
from common.metrics import metrics
from common.mh.codec import decode, encode
from common.mh.messages import (
    AckFlag,
    BindingError,
    ContextData,
    ContextReflectionAck,
    Feature,
    Heartbeat,
    Message,
    ProxyBindingUpdate,
    Status,
    UpdateFlag,
)
from common.phases import LMA_PHASES, MAG_PHASES, Phases
from lmad.lma import LocalMobilityAnchor
from lmad.show import bindings
from magd.mag import MobileAccessGateway
from magd.show import mobile_nodes
from tests.domain import LMAA, lma_config, mac, mag_address, mag_config, mn_id
from tests.shells import serving, shell, until
from tests.test_mag import accepted
from tests.test_operation import request

PMAG, NMAG = mag_address(1), mag_address(2)
ALL_FAMILIES = {
    "messages",
    "refusals",
    "ignored",
    "failures",
    "events",
    "kernel_drops",
    "held_packets",
    "held_sessions",
    "handover_phase_seconds",
    "peer_reachable",
}


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return int(probe.getsockname()[1])


def scrape(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by metric without our prefix, then by their labels' values in the order of the labels' names."""
    with urlopen(f"http://[::1]:{port}/metrics") as answer:
        text = answer.read().decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(f"context_reflector_{family.name.removeprefix('context_reflector_')}"):
                name = family.name.removeprefix("context_reflector_")
                if sample.name.endswith("_bucket"):
                    continue
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                key = (*labels, sample.name.rpartition("_")[2]) if family.type == "histogram" else labels
                found.setdefault(name, {})[key] = sample.value
    return found


def test_no_metric_of_an_anchor_is_always_zero() -> None:
    core = LocalMobilityAnchor(lma_config(mns=4, scheme="context-reflector"), utc)
    port = free_port()
    with shell(core) as (anchor, wire, kernel):

        def say(source: IPv6Address, message: Message | bytes) -> None:
            before = sum(anchor.effects.messages.values()) + sum(anchor.effects.events.values())
            wire.put(message if isinstance(message, bytes) else encode(message), source)
            until(lambda: sum(anchor.effects.messages.values()) + sum(anchor.effects.events.values()) > before)

        def drive() -> None:
            nmag = (ContextData(Feature.NMAG_ADDRESS, NMAG.packed),)
            leave = request(lifetime=0, sequence=2, flags=request().flags | UpdateFlag.CONTEXT, contexts=nmag)
            say(NMAG, Heartbeat(sequence=0, response=True, unsolicited=True, restart_counter=1))
            for mn in (1, 2, 3, 4):
                say(PMAG, request(mn))
            say(PMAG, leave)
            say(NMAG, request(1, sequence=3))
            say(PMAG, ContextReflectionAck(status=Status.ACCEPTED, sequence=2, lifetime=10.0, mn_id=mn_id(1)))
            say(PMAG, replace(leave, mn_id=mn_id(2), mn_ll_id=mac(2)))  # stays a CCE
            say(PMAG, request(3, lifetime=0, sequence=2))  # waits to be deleted
            say(PMAG, request(9))  # refused
            say(IPv6Address("2001:db8::bad"), BindingError(status=1))  # ignored
            say(PMAG, b"\x3b\x00\x05")  # malformed
            kernel.refuses = True
            say(PMAG, request(4, lifetime=0, sequence=5))
            wire.broken = True
            say(NMAG, request(1, sequence=7))
            kernel.dropped, kernel.held = {"hold-full": 3}, [{"packets": 7}]
            wire.lost = 5
            found = scrape(port)
            assert found.keys() == ALL_FAMILIES | {"bindings"}
            assert found["bindings"][str(NMAG), "registered"] == 1
            assert {state for (_, state), number in found["bindings"].items() if number} == {
                "registered",
                "de-registered",
                "context",
            }
            assert found["messages"]["received", "accepted", "PBU"] == 6
            assert found["messages"]["received", "refused", "PBU"] == 1
            assert found["messages"]["received", "ignored", "BE"] == 1
            assert found["messages"]["received", "failed", "PBU-dereg"] == 1
            assert found["messages"]["sent", "accepted", "CR"] == 2
            assert found["messages"]["sent", "failed", "PBA"] == 1
            assert found["refusals"] == {("refused-not-lma-for-this-mobile-node",): 1}
            assert found["ignored"] == {("unauthorized-source",): 1, ("malformed-truncated",): 1}
            assert found["failures"] == {("data-plane-refused",): 1, ("send-failed",): 1}
            assert found["events"]["hold-started",] == 2
            assert found["kernel_drops"] == {("hold-full",): 3, ("signalling-unread",): 5}
            assert (found["held_packets"][()], found["held_sessions"][()]) == (7, 1)
            assert found["peer_reachable"] == {(str(NMAG),): 1}
            for what in ("count", "sum"):
                assert all(found["handover_phase_seconds"][phase.name, what] > 0 for phase in LMA_PHASES)

        async def run() -> None:
            listen, reachable = (IPv6Address("::1"), port), core.heartbeats.reachable
            with metrics(listen, anchor, bindings(core), LMA_PHASES, time.monotonic, reachable=reachable):
                await serving(anchor, drive)

        asyncio.run(run())
        assert threading.active_count() <= 2 or not any(  # the thread that served HTTP has gone
            "serve_forever" in thread.name for thread in threading.enumerate()
        )


def test_every_phase_and_state_of_a_gateway_is_counted() -> None:
    core = MobileAccessGateway(mag_config(1, mns=2, scheme="context-reflector"), utc)
    kind, seen = mobile_nodes(core), set[tuple[str, ...]]()
    phases = Phases(MAG_PHASES, time.monotonic)

    def look() -> None:
        seen.update(map(kind.labels_of, kind.entries()))

    with shell(core) as (gateway, wire, _):
        gateway.journal.listeners.append(phases.hear)

        loops: list[asyncio.AbstractEventLoop] = []

        def drive() -> None:
            def feed(event: Callable[[], list[Action]]) -> None:
                loops[0].call_soon_threadsafe(lambda: gateway.feed(event()))

            def answer(number: int, **changes: object) -> None:
                until(lambda: len(wire.sent) == number)
                asked = decode(wire.sent[-1][0])
                assert isinstance(asked, ProxyBindingUpdate)
                look()
                wire.put(encode(accepted(asked, **changes)), LMAA)

            def state() -> str:
                return next((entry.state.value for entry in list(core.binding_update_list.values())), "")

            feed(lambda: core.attached(mn_id(1), "acc1", time.monotonic()))
            answer(1)
            until(lambda: state() == "registered")
            look()
            feed(lambda: core.detached(mn_id(1), time.monotonic()))
            answer(2, flags=AckFlag.PROXY | AckFlag.CONTEXT)
            until(lambda: state() == "left")
            look()

        async def run() -> None:
            loops.append(asyncio.get_running_loop())
            await serving(gateway, drive)

        asyncio.run(run())
    assert {state for (state,) in seen} == {"registering", "registered", "de-registering", "left"}
    assert seen < set(kind.every())
    assert all(sum(phases.histograms[phase.name].counts) == 1 for phase in MAG_PHASES)


def test_phases_count_from_the_later_of_two_beginnings_and_forget_who_is_gone() -> None:
    now = [0.0]
    phases = Phases(LMA_PHASES, lambda: now[0])
    said: dict[str, object] = {"mn_id": mn_id(1)}
    for moment, message in ((0.0, request(lifetime=0)), (1.0, request(lifetime=0)), (3.0, request())):
        now[0] = moment
        phases.hear("received", message, said)
    assert phases.histograms["away"].total == 2.0
    phases.hear("received", request(lifetime=0), said)
    phases.hear("binding-deleted", None, said)
    phases.hear("received", request(), said)
    assert sum(phases.histograms["away"].counts) == 1
