"""What an operator has of a running daemon: a trace, the control socket's door, the watchdog's word, its log."""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from common import logs
from common.actions import Note
from common.control import CommandError, ControlServer, ask, follow, may_command
from common.daemon import utc, watchdog_interval
from common.errors import StoreError
from common.journal import FLUSH_AT
from common.mh.codec import decode, encode
from common.mh.messages import Heartbeat, ProxyBindingUpdate, Status
from common.persistence import Persistence
from common.records import Change
from common.store import MemoryStore
from common.trace import line, trace
from lmad.adoption import tables
from lmad.commands import commands
from lmad.lma import LocalMobilityAnchor
from tests.domain import lma_config, mac, mag_address, mn_id
from tests.shells import serving, shell, until
from tests.test_lma import pbu

PMAG = mag_address(1)


def request(mn: int = 1, **changes: object) -> ProxyBindingUpdate:
    return replace(pbu(0.0), mn_id=mn_id(mn), mn_ll_id=mac(mn), timestamp=None, **changes)  # type: ignore[arg-type]


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
def test_what_is_no_address_is_refused_in_a_line(tmp_path: Path) -> None:
    """Whoever speaks to the socket himself, and not by `lmactl`, is answered as well."""
    core, path = LocalMobilityAnchor(lma_config(), utc), tmp_path / "control.sock"
    with shell(core) as (anchor, _wire, _):

        def revoke() -> None:
            for arguments in ({"mag": "nowhere"}, {"mag": [1]}, {"mn_id": "x" * 300}, {"mn": "mn1"}):
                with pytest.raises(CommandError, match=r"wrong arguments|no session"):
                    ask(path, "revoke", **arguments)

        asyncio.run(_served(path, commands(core, anchor, lambda: 0.0), revoke))


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


class FullStore(MemoryStore):
    full = False

    def save(self, changes: Iterable[Change]) -> None:
        if self.full:
            raise StoreError("no space left on device")
        super().save(changes)


def test_a_disk_that_is_full_is_told_of_and_the_service_goes_on() -> None:
    core, store = LocalMobilityAnchor(lma_config(mns=3), utc), FullStore()
    with shell(core, persistence=Persistence(store, tables(core, "pmipv6"))) as (anchor, wire, _):
        anchor.adopted(0, 0)

        def drive() -> None:
            for number, full in ((1, True), (2, True), (3, False)):
                store.full = full
                wire.put(encode(request(number)), PMAG)
                until(lambda number=number: len(wire.sent) == number)  # type: ignore[misc]
            until(lambda: anchor.effects.events["state-stored-again"] == 1)
            assert anchor.effects.events["state-not-stored"] == 1

        asyncio.run(serving(anchor, drive))
    assert all(decode(data).status == Status.ACCEPTED for data, _ in wire.sent)  # type: ignore[union-attr]


def test_a_journal_that_cannot_be_written_ends_no_service(tmp_path: Path) -> None:
    """Far more lines than are kept for later; then there is room again, and what is written are whole lines."""
    path = tmp_path / "journal"
    path.symlink_to("/dev/full")
    with shell(LocalMobilityAnchor(lma_config(), utc), path) as (anchor, wire, _):

        def drive() -> None:
            for number in range(2 * FLUSH_AT):
                wire.put(encode(Heartbeat(sequence=number)), PMAG)
                until(lambda number=number: len(wire.sent) == number + 1)  # type: ignore[misc]
            until(lambda: anchor.effects.events["journal-not-written"] == 1)
            anchor.journal._file = (tmp_path / "room").open("wb", buffering=0)
            wire.put(encode(Heartbeat(sequence=0)), PMAG)
            until(lambda: anchor.effects.events["journal-written-again"] == 1)

        asyncio.run(serving(anchor, drive))
        anchor.journal.close()
    assert anchor.effects.events["journal-not-written"] == 1
    rows = [json.loads(line) for line in (tmp_path / "room").read_text().splitlines() if line]
    assert {"received", "sent"} <= {row["event"] for row in rows}


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
