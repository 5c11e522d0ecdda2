"""What an operator has of a running daemon: metrics, a trace, the control socket's door, the watchdog's word."""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import islice
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common import logs
from common.actions import Action, Note
from common.control import CommandError, ControlServer, ask, follow, may_command
from common.daemon import watchdog_interval
from common.metrics import metrics
from common.mh.codec import decode, encode
from common.mh.messages import (
    AckFlag,
    BindingError,
    ContextData,
    ContextReflectionAck,
    Feature,
    Message,
    ProxyBindingUpdate,
    Status,
    UpdateFlag,
)
from common.phases import LMA_PHASES, MAG_PHASES, Phases
from common.trace import line, trace
from lmad.lma import LocalMobilityAnchor
from lmad.show import bindings
from magd.mag import MobileAccessGateway
from magd.show import mobile_nodes
from tests.domain import LMAA, lma_config, mac, mag_address, mag_config, mn_id
from tests.shells import serving, shell
from tests.test_lma import pbu
from tests.test_mag import accepted

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
}


def utc(now: float) -> float:
    return now + (time.time() - time.monotonic())


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


def until(condition: Callable[[], bool]) -> None:
    """The shell's loop has taken what was put in: it is another thread's, so there is nothing to wait on but this."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def request(mn: int = 1, **changes: object) -> ProxyBindingUpdate:
    return replace(pbu(0.0), mn_id=mn_id(mn), mn_ll_id=mac(mn), timestamp=None, **changes)  # type: ignore[arg-type]


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
            assert found["kernel_drops"] == {("hold-full",): 3}
            assert (found["held_packets"][()], found["held_sessions"][()]) == (7, 1)
            for phase in LMA_PHASES:
                assert found["handover_phase_seconds"][phase.name, "count"] > 0, phase
                assert found["handover_phase_seconds"][phase.name, "sum"] > 0, phase

        async def run() -> None:
            with metrics((IPv6Address("::1"), port), anchor, bindings(core), LMA_PHASES, time.monotonic):
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


async def _served(path: Path, commands: dict[str, Callable[..., object]], test: Callable[[], None]) -> None:
    async with ControlServer(path, commands):
        await asyncio.to_thread(test)


def test_trace_follows_one_mobile_node(tmp_path: Path) -> None:
    core = LocalMobilityAnchor(lma_config(mns=2), utc)
    path = tmp_path / "control.sock"
    with shell(core) as (anchor, wire, _):

        def read() -> None:
            rows = follow(path, "trace", mn_id=str(mn_id(1)))
            telling = threading.Thread(target=lambda: found.extend(islice(rows, 3)))
            found: list[tuple[object, int]] = []
            telling.start()
            wire.put(encode(request(2)), PMAG)
            wire.put(encode(request(1)), PMAG)
            telling.join(10)
            rows.close()  # type: ignore[attr-defined]
            assert [row["event"] for row, _ in found] == ["received", "forwarding", "sent"]  # type: ignore[index]
            first = line(found[0][0])  # type: ignore[arg-type]
            assert "received PBU from 2001:db8:0:1::1 sequence=1" in first
            assert "hnps=::/0" in first
            until(lambda: not anchor.journal.listeners)  # whoever has left is not told any more

        async def run() -> None:
            async with ControlServer(path, {"trace": lambda mn_id: trace(anchor.journal, mn_id)}):
                await serving(anchor, read)

        asyncio.run(run())


def test_the_control_socket_knows_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "control.sock"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert may_command(ours)

    def refused() -> None:
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(CommandError, match="not allowed: for root and members of the daemon's group"):
            ask(path, "show")

    monkeypatch.setattr("common.control.may_command", lambda _peer: False)
    asyncio.run(_served(path, {"show": lambda: 1}, refused))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_strangers_are_not_served_and_members_of_the_group_are() -> None:
    for uid, gid, groups, allowed in ((1234, 1234, [], False), (1234, 1234, [os.getegid()], True), (0, 5, [], True)):
        ours, theirs = socket.socketpair()
        with ours, theirs, socket.socket(socket.AF_UNIX) as listening:
            listening.bind("")
            listening.listen()
            child = os.fork()
            if child == 0:
                os.setgroups(groups)
                os.setgid(gid)
                os.setuid(uid)
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(listening.getsockname())
                    client.recv(1)
                os._exit(0)
            accepted, _ = listening.accept()
            with accepted:
                assert may_command(accepted) is allowed, (uid, gid, groups)
            os.waitpid(child, 0)


def test_what_a_reader_missed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = LocalMobilityAnchor(lma_config(), utc)
    path = tmp_path / "control.sock"
    with shell(core) as (anchor, wire, _kernel):

        def read() -> None:
            rows = follow(path, "trace", mn_id=str(mn_id(1)))
            found: list[tuple[object, int]] = []
            reader = threading.Thread(target=lambda: found.append(next(rows)))
            reader.start()
            monkeypatch.setattr("common.control.MAX_UNREAD", -1)  # as if the socket were full
            wire.put(encode(request()), PMAG)
            until(lambda: bool(wire.sent))
            monkeypatch.undo()
            wire.put(encode(request()), PMAG)
            reader.join(10)
            assert [missed for _, missed in found] == [3]

        async def run() -> None:
            async with ControlServer(path, {"trace": lambda mn_id: trace(anchor.journal, mn_id)}):
                await serving(anchor, read)

        asyncio.run(run())


def test_the_watchdog_hears_from_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        shell(LocalMobilityAnchor(lma_config(), utc)) as (anchor, _, _kernel),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        heard: list[bytes] = []

        def listen() -> None:
            heard.extend(manager.recv(64) for _ in range(5))
            os.kill(os.getpid(), signal.SIGHUP)
            while heard[-1] != b"READY=1":
                heard.append(manager.recv(64))

        asyncio.run(serving(anchor, listen, lambda: Note("reloaded", detail="changed nothing")))
        assert heard[:5] == [b"READY=1", *[b"WATCHDOG=1"] * 4]
        [reloading] = [word for word in heard if word.startswith(b"RELOADING=1\nMONOTONIC_USEC=")]
        assert heard[heard.index(reloading) + 1] == b"READY=1"
        assert anchor.effects.events["reloaded"] == 1
        monkeypatch.setenv("WATCHDOG_PID", "1")  # meant for another process
        assert watchdog_interval() is None


def test_log_entries_have_priority_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logs.log_note(Note("refused-unknown-nmag", mn_id(1), PMAG))
        logs.log_note(Note("attached", mn_id(1), detail="eth1"))
    refused, attached = caplog.records
    assert (refused.levelno, attached.levelno) == (logging.WARNING, logging.INFO)
    assert refused.getMessage() == "refused-unknown-nmag mn=mn1@example.net peer=2001:db8:0:1::1"
    fields = {name: value for name, value in vars(attached).items() if name.isupper()}
    assert fields == {"EVENT": "attached", "MN_ID": "mn1@example.net", "DETAIL": "eth1"}
