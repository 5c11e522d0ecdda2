"""Journals with inputs (recording.py, replay.py): whatever happened, cores of the same program answer it once more."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
import pytest
from click.testing import CliRunner
from hypothesis import settings

import lmad.__main__
import magd.__main__
from common import daemon
from common.actions import Forward, Note
from common.core import Core
from common.journal import Journal
from common.recording import Life, Recorder, inputs
from common.replay import replay
from common.schemes import SCHEMES
from lmad import adoption as lma_adoption
from lmad.config import ContextReflector, LmadConfig
from lmad.lma import LocalMobilityAnchor
from magd import adoption as mag_adoption
from magd.config import MagdConfig
from magd.mag import MobileAccessGateway
from testbed.fuzz import targets
from testbed.fuzz.run import run as fuzz
from tests import test_state_machine
from tests.domain import LMAA, mac, mag_address, mn_id, utc
from tests.lives import MortalDomain
from tests.roaming import MAGS, MNS
from tests.test_adoption import history
from tests.test_lma import pbu

T = TypeVar("T", bound=Core)
PROGRAMS: dict[str, click.Command] = {"lmad": lmad.__main__.main, "magd": magd.__main__.main}


@dataclass
class RecordedDomain(MortalDomain):
    """Every node has a journal, in which its lives follow each other."""

    directory: TemporaryDirectory[str] = field(default_factory=TemporaryDirectory)
    journals: dict[IPv6Address, Journal] = field(default_factory=dict)
    recorders: dict[IPv6Address, Recorder] = field(default_factory=dict)

    def clock(self, node: IPv6Address) -> Callable[[float], float]:
        if node not in self.journals:
            self.journals[node] = Journal(self.path(node))
        self.recorders[node] = Recorder(self.journals[node], utc)
        return self.recorders[node].utc

    def watched(self, node: IPv6Address, core: T, life: Life[Any]) -> T:
        return self.recorders[node].watch(core, life)

    def path(self, node: IPv6Address) -> Path:
        return Path(self.directory.name, f"{node}.jsonl")

    def recorded(self) -> dict[IPv6Address, Path]:
        for journal in self.journals.values():
            journal.flush()
        return {node: self.path(node) for node in self.journals}

    def close(self) -> None:
        for journal in self.journals.values():
            journal.close()
        self.directory.cleanup()


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def program_of(node: IPv6Address) -> str:
    return "lmad" if node == LMAA else "magd"


def played(node: IPv6Address, path: Path) -> tuple[int, str | None]:
    if node == LMAA:
        return replay(path, LocalMobilityAnchor, LmadConfig, lma_adoption.relive)
    return replay(path, MobileAccessGateway, MagdConfig, mag_adoption.relive)


def check_all_is_answered_alike(domain: RecordedDomain) -> None:
    for node, path in domain.recorded().items():
        told = [entry for entry in entries(path) if entry["event"] == "input"]
        assert played(node, path) == (len(told), None)


class Recorded(test_state_machine.Roaming):
    """Three MNs roam on a bad network, daemons are killed; then every journal is replayed."""

    domain: RecordedDomain

    def begin(self, scheme: str, reflector: ContextReflector, known: bool) -> RecordedDomain:
        return RecordedDomain.with_lives(scheme, reflector, len(MAGS), len(MNS), known)

    def teardown(self) -> None:
        if not hasattr(self, "domain"):
            return
        try:
            super().teardown()
            check_all_is_answered_alike(self.domain)
        finally:
            self.domain.close()


Recorded.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRecorded = Recorded.TestCase


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_process_answers_alike(scheme: str) -> None:
    """One whose sets are in another order, too."""
    domain = RecordedDomain.with_lives(scheme)
    domain.fatal, domain.downtime = 10, 0.4
    history(domain)
    assert domain.died
    for node, path in list(domain.recorded().items())[:3]:
        count = sum(entry["event"] == "input" for entry in entries(path))
        command = [sys.executable, "-m", program_of(node), "--replay", str(path)]
        environment = {**os.environ, "PYTHONHASHSEED": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{count} inputs answered alike\n", "")
    domain.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_hostile_messages_are_answered_alike(
    program: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutated messages through a whole shell, by the clocks of this machine, with a kernel that refuses."""
    journal = Journal(tmp_path / "journal")
    recorder = Recorder(journal, daemon.utc)

    def anchor(config: LmadConfig, _utc: object) -> LocalMobilityAnchor:
        core = LocalMobilityAnchor(config, recorder.utc)
        return recorder.watch(core, lma_adoption.life(core, None, config, 0.0))

    def gateway(config: MagdConfig, _utc: object) -> MobileAccessGateway:
        core = MobileAccessGateway(config, recorder.utc)
        return recorder.watch(core, mag_adoption.life(core, None, config, 0.0))

    monkeypatch.setattr(targets, "LocalMobilityAnchor", anchor)
    monkeypatch.setattr(targets, "MobileAccessGateway", gateway)
    fuzz(program, scheme, 2000, seed=6275)
    journal.close()
    told = [entry for entry in entries(tmp_path / "journal") if entry["event"] == "input"]
    assert any(entry.get("utc") for entry in told)
    assert run(tmp_path / "journal", program) == (0, f"{len(told)} inputs answered alike\n")


def test_what_waits_for_the_same_moment_comes_in_the_same_order() -> None:
    """That order hangs on when the core was asked what it waits for (common/deadlines.py)."""
    domain = RecordedDomain.with_lives("pmipv6", mags=1, mns=2)
    for number, now in ((1, 0.0), (1, 4.0), (2, 4.0)):
        domain.lma.receive(
            mag_address(1), pbu(now, mn_id=mn_id(number), mn_ll_id=mac(number), lifetime=100, sequence=int(now)), now
        )
        domain.lma.deadline()
    ended = [action.mn_id for action in domain.lma.expire(104.0) if isinstance(action, Note)]
    assert ended == [mn_id(1), mn_id(2)]
    check_all_is_answered_alike(domain)
    domain.close()


def test_every_input_is_recorded_and_replayed() -> None:
    domain = RecordedDomain.with_lives("context-reflector", mags=2)
    pmag, nmag, mn, link = mag_address(1), mag_address(2), mn_id(1), "acc1"
    domain.perform(LMAA, domain.lma.started(True, domain.now))
    domain.perform(pmag, domain.mags[pmag].started(True, domain.now))
    mag = domain.mags[pmag]
    domain.kernel_refuses = refuse_one()
    domain.perform(pmag, mag.attached(mn, link, domain.now, nmag))  # the anchor's kernel refuses
    domain.run(domain.now + 1.0)
    domain.perform(pmag, mag.link_down(link, domain.now))
    domain.run(domain.now + 1.0)
    domain.kernel_refuses = refuse_one(pmag)
    domain.perform(pmag, mag.link_up(link, domain.now))
    domain.run(domain.now + 1.0)
    domain.perform(pmag, mag.solicited(link, mac(1), True, domain.now, IPv6Address("fe80::1")))
    domain.perform(pmag, mag.heard(link, mac(1), IPv6Address("fe80::1"), domain.now))
    domain.perform(pmag, [*mag.path_mtu(LMAA, 1400), *mag.link_mtu(link, 1400), *mag.expected(mn, nmag)])
    domain.perform(pmag, mag.follow(domain.configs[pmag], domain.now))  # type: ignore[arg-type]
    domain.lma.follow(domain.configs[LMAA], domain.now)  # type: ignore[arg-type]
    domain.perform(pmag, mag.handover(mn, nmag, domain.now))
    domain.run(domain.now + 30.0)
    domain.perform(pmag, mag.detached(mn, domain.now))
    domain.perform(LMAA, domain.lma.revoke(mn, domain.now))
    domain.perform(LMAA, domain.lma.revoke_at(pmag, "example.net", domain.now))
    domain.perform(LMAA, domain.lma.revoke_at(pmag, None, domain.now))
    domain.run(domain.now + 30.0)
    check_all_is_answered_alike(domain)
    for node, kind in ((LMAA, LocalMobilityAnchor), (pmag, MobileAccessGateway)):
        assert {entry["call"] for entry in entries(domain.path(node)) if "call" in entry} == inputs(kind).keys()
    domain.close()


def refuse_one(node: IPv6Address = LMAA) -> Callable[[IPv6Address, Forward], bool]:
    """The kernel of that node refuses its next change."""
    left = [True]
    return lambda where, forward: where == node and forward.forwarding is not None and bool(left) and left.pop()


def test_inputs_are_what_may_change_a_core() -> None:
    both = {"started", "receive", "expire", "forwarding_failed", "follow"}
    assert inputs(LocalMobilityAnchor).keys() == both | {"revoke", "revoke_at"}
    links = {"link_up", "link_down", "link_mtu", "path_mtu", "solicited", "heard"}
    moves = {"attached", "detached", "expected", "handover"}
    assert inputs(MobileAccessGateway).keys() == both | links | moves


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    """The journal of an anchor."""
    domain = RecordedDomain.with_lives("context-reflector")
    history(domain)
    path = tmp_path / "lma.jsonl"
    path.write_bytes(domain.recorded()[LMAA].read_bytes())
    domain.close()
    return path


def run(path: Path, program: str = "lmad") -> tuple[int, str]:
    done = CliRunner().invoke(PROGRAMS[program], ["--replay", str(path)])
    return done.exit_code, done.output


def test_the_first_answer_that_differs_is_shown_both_ways(anchors: Path) -> None:
    lines = anchors.read_text().splitlines()
    place, one = next((n, line) for n, line in enumerate(lines) if "Send(destination=2001:db8:0:2::1" in line)
    other = one.replace("Send(destination=2001:db8:0:2::1", "Send(destination=2001:db8:0:9::1")
    anchors.write_text("\n".join([*lines[:place], other, *lines[place + 1 :], "no line"]))
    status, text = run(anchors)
    assert status == 1
    first, *rest = text.splitlines()
    assert first.startswith(f'{anchors}, line {place + 1}: input {place}, receive {{"source":')
    was, now = rest.index("it was answered:"), rest.index("and is now:")
    assert was < now
    [before] = [line for line in rest[was:now] if "0:9::1" in line]
    assert before.replace("0:9::1", "0:2::1") in rest[now:]


def test_an_error_of_the_program_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = RecordedDomain.with_lives("pmipv6")
    with monkeypatch.context() as broken:
        broken.setattr("lmad.revoking.Revoking.sessions_of", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            domain.lma.revoke(mn_id(1), 1.0)
        path = domain.recorded()[LMAA]
        assert run(path) == (0, "1 inputs answered alike\n")
    status, text = run(path)
    assert status == 1
    raised = "    raised ZeroDivisionError('integer division or modulo by zero')"
    assert text.splitlines()[1:] == ["it was answered:", raised, "and is now:", "    nothing"]
    domain.close()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda lines: ["{"], ", line 1: not a line of a journal"),
        (lambda lines: ["17"], ", line 1: not a line of a journal"),
        (
            lambda lines: ['{"t_ns": 1, "event": "started"}'],
            ": no inputs in it; they are there with journal_inputs = true",
        ),
        (lambda lines: lines[1:], ", line 1: receive before any life: the journal's beginning is missing"),
        (lambda lines: [*lines[:3], *lines[5:]], ", line 4: input 5 after input 2: what is between them is missing"),
        (
            lambda lines: [lines[0].replace("2001:db8:0:ff::1", "nowhere")],
            "in 'nowhere' - at `configuration.lma.address`",
        ),
        (lambda lines: [lines[0], lines[1].replace('"receive"', '"unknown"')], "this version has no such input"),
        (lambda lines: [lines[0], lines[1].replace('"message":"', '"message":"00')], "this version has no such input"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_one_line(
    anchors: Path, change: Callable[[list[str]], list[str]], complaint: str
) -> None:
    anchors.write_text("\n".join(change(anchors.read_text().splitlines())))
    status, text = run(anchors)
    assert (status, text.count("\n")) == (2, 1)
    assert complaint in text


def test_files_of_others_are_refused(anchors: Path, tmp_path: Path) -> None:
    whose = "the life of a LocalMobilityAnchor, not of a MobileAccessGateway"
    assert run(anchors, "magd") == (2, f"magd: {anchors}, line 1: {whose}\n")
    assert run(tmp_path / "none") == (2, f"lmad: {tmp_path / 'none'}: No such file or directory\n")
    anchors.write_bytes(b"\xff\xfe")
    assert run(anchors) == (2, f"lmad: {anchors}, line 1: not a line of a journal\n")
