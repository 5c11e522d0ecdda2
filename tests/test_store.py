"""The store: what is saved is there after the end of a process, in order, whole or not at all."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import ahead, store
from common.ahead import Ahead
from common.errors import ConfigError
from common.persistence import Persistence
from common.records import Moment, Recorded, Table, shifted
from common.store import MemoryStore, SqliteStore

Rows = dict[tuple[str, bytes], bytes]
changes = st.lists(
    st.tuples(st.sampled_from("ab"), st.binary(max_size=2), st.none() | st.binary(max_size=40)), max_size=5
)


def rows_of(opened: SqliteStore) -> Rows:
    return {(name, key): value for name, key, value in opened.load()}


def apply(rows: Rows, change: list[tuple[str, bytes, bytes | None]]) -> None:
    for name, key, value in change:
        rows.pop((name, key), None)
        if value is not None:
            rows[name, key] = value


@settings(max_examples=60, deadline=None)
@given(history=st.lists(st.tuples(st.sampled_from(["save", "save", "save", "settle", "kill"]), changes), max_size=25))
def test_a_store_that_is_killed_has_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, list[tuple[str, bytes, bytes | None]]]]
) -> None:
    """Killed: nobody closes it, and the next one opens the same files."""
    directory = tmp_path_factory.mktemp("store")
    expected: Rows = {}
    opened = SqliteStore(directory, "lmad")
    opened.load()
    for what, change in history:
        if what == "save":
            opened.save(change)
            apply(expected, change)
        elif what == "settle":
            opened.settle()
        else:
            opened = SqliteStore(directory, "lmad")
            assert rows_of(opened) == expected
            assert opened.shift == 0.0
    opened.close()
    assert rows_of(SqliteStore(directory, "lmad")) == expected


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Ahead]:
    log = Ahead(tmp_path / "a", settled=0, size=200)
    assert log.append(b"one")
    assert log.append(b"two two")
    return tmp_path / "a", log


def read(path: Path, settled: int = 0) -> list[bytes]:
    return list(Ahead(path, settled, 200).entries())


def test_a_log_ends_where_the_end_came_in_the_middle(written: tuple[Path, Ahead]) -> None:
    path, _ = written
    assert read(path) == [b"one", b"two two"]
    assert read(path, settled=1) == [b"two two"]
    octets = bytearray(path.read_bytes())
    for place in range(len(octets)):
        torn = bytearray(octets)
        torn[place] ^= 0xFF
        path.write_bytes(torn)
        assert [b"one", b"two two"][: len(read(path))] == read(path)  # never anything else


def test_a_log_that_was_rewound_does_not_give_what_it_gave_before(written: tuple[Path, Ahead]) -> None:
    path, log = written
    log.rewind()
    assert log.append(b"six")  # as long as what it replaces: "two two" is whole behind it
    assert read(path, settled=2) == [b"six"]
    assert read(path, settled=0) == []  # of a database that lost what had been settled, nothing fits


def test_what_no_log_can_hold_is_stored_all_the_same(tmp_path: Path) -> None:
    opened = SqliteStore(tmp_path, "lmad")
    opened.save([])
    opened.save([("a", b"k", b"x" * (ahead.SIZE + 1))])
    assert rows_of(SqliteStore(tmp_path, "lmad")) == {("a", b"k"): b"x" * (ahead.SIZE + 1)}


def test_many_more_changes_than_the_log_holds(tmp_path: Path) -> None:
    opened = SqliteStore(tmp_path, "lmad")
    for number in range(3000):
        opened.save([("a", number.to_bytes(2), os.urandom(200))])
    assert len(rows_of(SqliteStore(tmp_path, "lmad"))) == 3000


def test_a_database_that_is_none_is_set_aside(tmp_path: Path) -> None:
    SqliteStore(tmp_path, "lmad").save([("a", b"k", b"v")])
    (tmp_path / "lmad.sqlite3").write_bytes(b"this is not a database, whatever its name says" * 100)
    (tmp_path / "lmad.sqlite3-wal").unlink()
    opened = SqliteStore(tmp_path, "lmad")
    assert opened.load() == []
    assert (tmp_path / "lmad.unreadable").exists()
    opened.save([("a", b"k", b"v")])


def test_the_restart_counter_rises_only_when_state_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_800_000_000.0]
    monkeypatch.setattr("common.store.time.time", lambda: clock[0])
    opened = SqliteStore(tmp_path, "lmad")
    opened.save([])
    first = opened.restart_counter
    clock[0] += 100
    assert SqliteStore(tmp_path, "lmad").restart_counter == first
    for file in tmp_path.iterdir():
        file.unlink()
    assert SqliteStore(tmp_path, "lmad").restart_counter == first + 100
    assert MemoryStore().restart_counter == first + 100


def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"state directory .*: (Not a directory|File exists)"):
        SqliteStore(tmp_path / "file", "lmad")


@dataclass(frozen=True, slots=True)
class Inner:
    due: Moment
    lasts: float


@dataclass(frozen=True, slots=True)
class Entry:
    address: IPv6Address
    prefixes: frozenset[IPv6Network]
    ends: Moment
    inner: tuple[Inner, ...] = ()


ENTRY = Entry(IPv6Address("2001:db8::1"), frozenset({IPv6Network("2001:db8::/48")}), 5.0, (Inner(6.0, 7.0),))


def table() -> Table[str, Entry]:
    return Table("entry", Recorded[str, Entry](), str, Entry)


def test_moments_move_and_durations_do_not() -> None:
    assert shifted(ENTRY, 10.0) == replace(ENTRY, ends=15.0, inner=(Inner(16.0, 7.0),))


def test_after_a_new_start_of_the_machine_moments_are_of_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine was down for 90 s and its monotonic clock began anew."""
    clock = [1_800_000_000.0, 5_000.0]
    monkeypatch.setattr("common.store.time.time", lambda: clock[0])
    monkeypatch.setattr("common.store.time.monotonic", lambda: clock[1])
    first = table()
    persistence = Persistence(SqliteStore(tmp_path, "x"), [first])
    persistence.watch()
    first.rows["a"] = replace(ENTRY, ends=5_300.0)
    persistence.save()
    persistence.close()
    clock[:] = [1_800_000_100.0, 10.0]
    monkeypatch.setattr(store, "_BOOT_ID", tmp_path / "boot")
    (tmp_path / "boot").write_text("another\n")
    for _ in range(3):  # and it is so however often the daemon is killed in that boot
        second = table()
        persistence = Persistence(SqliteStore(tmp_path, "x"), [second])
        assert persistence.loaded["entry"]["a"].ends == pytest.approx(210.0)
        second.rows.update(persistence.loaded["entry"])
        persistence.watch()


@pytest.mark.parametrize(("name", "value", "lost"), [("entry", b"\x01", True), ("unknown", b"\x01", False)])
def test_a_session_that_cannot_be_read_is_lost_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: bytes, *, lost: bool
) -> None:
    """So the peers hear of a restart, once, and say again what they know; what another scheme remembered is no loss."""
    clock = [1_800_000_000.0]
    monkeypatch.setattr("common.store.time.time", lambda: clock[0])
    first = table()
    persistence = Persistence(SqliteStore(tmp_path, "x"), [first])
    persistence.watch()
    first.rows["a"] = ENTRY
    persistence.save()
    persistence._store.save([(name, b"\xa1k", value)])
    persistence.close()
    for is_lost in (lost, False):
        clock[0] += 100.0
        second = table()
        persistence = Persistence(SqliteStore(tmp_path, "x"), [second])
        assert persistence.lost is is_lost
        assert persistence.restart_counter == 1_800_000_000 + (100 if lost else 0)
        second.rows.update(persistence.loaded["entry"])
        persistence.watch()
        persistence.close()


def test_what_cannot_be_read_or_is_not_adopted_is_forgotten() -> None:
    memory = MemoryStore()
    memory.save([("entry", b"\xa1k", b"\x01"), ("unknown", b"\xa1k", b"\x01")])
    first = table()
    persistence = Persistence(memory, [first])
    assert persistence.unreadable == 2
    persistence.watch()
    assert memory.load() == []
    first.rows["a"], first.rows["b"] = ENTRY, ENTRY
    persistence.save()
    second = table()
    persistence = Persistence(memory, [second])
    second.rows["a"] = persistence.loaded["entry"]["a"]
    assert persistence.watch() == 1
    assert [key for _, key, _ in memory.load()] == [b"\xa1a"]


@pytest.mark.parametrize("change", [lambda rows: rows.pop("a"), lambda rows: rows.__delitem__("a")])
def test_a_row_that_goes_is_not_there_any_more(change: Callable[[Recorded[str, Entry]], object]) -> None:
    memory, first = MemoryStore(), table()
    persistence = Persistence(memory, [first])
    persistence.watch()
    first.rows["a"] = ENTRY
    persistence.save()
    assert len(memory.load()) == 1
    change(first.rows)
    persistence.save()
    assert memory.load() == []


def test_a_full_disk_ends_no_service(tmp_path: Path) -> None:
    opened, first = SqliteStore(tmp_path, "x"), table()
    persistence = Persistence(opened, [first])
    persistence.watch()
    first.rows["a"] = ENTRY
    persistence.save()
    opened._database.execute("PRAGMA max_page_count = 1")
    opened._database.execute("PRAGMA query_only = ON")
    for _ in range(3):
        assert not persistence.settle()
    assert [note.event for note in persistence.notes] == ["state-not-stored"]  # said once
    opened._database.execute("PRAGMA query_only = OFF")
    persistence.settle()
    assert [note.event for note in persistence.notes] == ["state-not-stored", "state-stored-again"]
    with sqlite3.connect(tmp_path / "x.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM state").fetchone() == (1,)
