"""The lab with its daemons, as `testbed up` and `testbed handover` use it."""

import json
import multiprocessing
import signal
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from testbed.lab.lab import Lab
from testbed.lab.node import LabError, wait_until
from testbed.lab.visit import LABS, LabSpec, Visit, labs
from testbed.measurement.measure import measure
from testbed.run.measured_run import run

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(LabSpec(mags=2, mns=2), "test-lab") as up:
        up.move_all({"mn1": "mag1", "mn2": "mag2"}, 0.0)
        for mn in ("mn1", "mn2"):
            up.wait_for_service(mn)
        yield up


def test_each_mn_has_an_address_of_its_own_prefix(lab: Lab) -> None:
    first, second = lab.address("mn1"), lab.address("mn2")
    assert first is not None
    assert second is not None
    assert first.ip.packed[8:] == bytes.fromhex("000000fffe000001")  # of its MAC
    assert first.network != second.network


def test_an_mn_keeps_its_address_and_its_service_through_moves(lab: Lab) -> None:
    before = lab.address("mn1")
    for mag in ("mag2", "mag1"):
        lab.move("mn1", mag)
        assert lab.wait_for_service("mn1") == before


def test_another_process_moves_an_mn_and_runs_programs(lab: Lab) -> None:
    visit = Visit("test-lab")
    assert visit.alive()
    assert "test-lab" in labs()
    visit.move("mn2", "mag1")
    assert visit.wait_for_service("mn2") == lab.address("mn2")
    assert "acc-mn2" in visit.run("mag1", ["ip", "link"])


def test_a_shell_finds_the_daemon_of_its_node(lab: Lab) -> None:
    argv, environment = lab.shell("mag1")
    done = subprocess.run(
        [*argv[:-1], "-c", "magctl show mobile-nodes --json && lmactl show bindings --json && ping -c 1 $LMA"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "mn1@example.net" in done.stdout
    assert "1 received" in done.stdout


def test_what_is_not_there_is_named(lab: Lab) -> None:
    for wrong, what in (
        (lambda: lab.move("mn3", "mag1"), "mn3"),
        (lambda: lab.move("mn1", "mag3"), "mag3"),
        (lambda: lab.shell("mag3"), "mag3"),
        (lambda: Visit("no-lab"), "no-lab"),
        (lambda: Lab(LabSpec(), "test-lab").__enter__(), "test-lab is up already"),
    ):
        with pytest.raises(LabError, match=what):
            wrong()


def _keep(name: str, say: Connection) -> None:
    with Lab(LabSpec(), name) as lab:
        say.send([daemon.pid for daemon in lab.daemons.values()])
        lab.wait()


def _kept(name: str) -> tuple[ForkProcess, list[int]]:
    """A lab in a process of its own, and its daemons. Forked: an interpreter starts in half a minute by emulation."""
    fork = multiprocessing.get_context("fork")
    hear, say = fork.Pipe(duplex=False)
    keeper = fork.Process(target=_keep, args=(name, say))
    keeper.start()
    return keeper, hear.recv()


def _all_gone(daemons: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in daemons)


def test_down_by_another_process_leaves_nothing() -> None:
    keeper, daemons = _kept("test-down")
    assert len(daemons) == 3
    Visit("test-down").down()
    keeper.join()
    assert keeper.exitcode == 128 + signal.SIGTERM
    assert _all_gone(daemons)
    assert not (LABS / "test-down").exists()


def test_a_killed_lab_leaves_a_directory_that_the_next_one_removes() -> None:
    keeper, daemons = _kept("test-killed")
    keeper.kill()
    keeper.join()
    wait_until(lambda: _all_gone(daemons), "the end of the daemons", 10.0)
    assert not Visit("test-killed").alive()
    with Lab(LabSpec(), "test-killed"):
        assert Visit("test-killed").alive()
    assert not (LABS / "test-killed").exists()


def test_a_daemon_that_does_not_start_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lab, "_configuration", lambda *_: "[nonsense]\n")
    with pytest.raises(LabError, match="nonsense"), Lab(LabSpec(), "test-broken"):
        pass
    assert not (LABS / "test-broken").exists()


def test_a_measured_run_fills_its_directory(tmp_path: Path) -> None:
    said: list[str] = []
    run({"count": 2, "rate_pps": 100}, tmp_path, said.append)
    report = json.loads((tmp_path / "run.json").read_text())
    assert [(move["from"], move["to"]) for move in report["moves"]] == [("mag1", "mag2"), ("mag2", "mag1")]
    for move in report["moves"]:
        assert move["attach_ns"] - move["detach_ns"] >= 50_000_000
    nodes = {"lma", "mag1", "mag2", "mn", "cn", "inet"}
    assert set(report["nodes"]) == nodes
    assert {path.stem for path in (tmp_path / "captures").iterdir()} == nodes
    assert {path.stem for path in (tmp_path / "journals").iterdir()} == {"lma", "mag1", "mag2"}
    for direction in ("downlink", "uplink"):
        counted = report["iperf3"]["mn"][direction]
        assert counted["packets"] == counted["packets_sent"] > 0
    assert report["ping"]["mn"]["sent"] >= report["ping"]["mn"]["received"] > 0
    assert any("handover 2 of 2" in text for text in said)


def test_a_measured_run_with_tcp(tmp_path: Path) -> None:
    """Whatever TCP sent again, iperf3 and the captures agree on it, and the network had no part in it."""
    run({"scheme": "context-reflector", "count": 2, "rate_pps": 100, "tcp_mbps": 1.0}, tmp_path, str)
    result = measure(tmp_path)
    assert result["captures"]["notes"] == []
    tcp = result["tcp"]
    for direction in ("downlink", "uplink"):
        counts = tcp["totals"][direction]
        assert counts["received"] > 100
        assert counts["sent"] == counts["received"] + counts["lost_on_air"]
        assert counts["retransmitted"]["by_network"] == 0
        assert tcp["iperf3"][direction]["retransmits"] == counts["retransmitted"]["all"]
    assert tcp["totals"]["uplink"]["retransmitted"]["lost_on_air"] >= 2  # it sent on in either handover
