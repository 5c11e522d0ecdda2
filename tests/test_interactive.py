"""The lab that stays up: what a person types, in the virtual machine, and that nothing of it stays behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.lab.node import wait_until
from testbed.vm import keeper
from testbed.vm.command import REPOSITORY

pytestmark = pytest.mark.vm

NAME, OTHER = f"test-{os.getpid()}", f"test-{os.getpid()}-beside"
MAG1, MAG2 = "2001:db8:0:1::1", "2001:db8:0:2::1"
TESTBED = [sys.executable, "-m", "testbed"]
TIMEOUT_S = 300.0  # a machine boots in half a minute, on a loaded host in two


def run_testbed(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TESTBED, *words],
        input=typed,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=TIMEOUT_S,
        check=False,
    )


def in_shell(lab: str, node: str, typed: str) -> str:
    """What the commands typed into a shell of that node print; all of them must succeed."""
    done = run_testbed("shell", "--lab", lab, node, typed=f"set -e\n{typed}\n")
    assert done.returncode == 0, done.stderr
    return done.stdout


def bindings(lab: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(in_shell(lab, "lma", "lmactl show bindings --json"))
    return shown


def processes_of(lab: str) -> list[str]:
    """Command lines of the keeper and of what it started; its machine dies with it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"testbed.vm.keeper {lab} " in line:
            found.append(line)
    return found


def machines() -> set[int]:
    """Processes of virtual machines of this repository's kind."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().startswith("qemu-system"):
                found.add(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def children_of_keeper(lab: str) -> set[int]:
    pid = int((keeper.state_directory(lab) / "vm/pid").read_text())
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def assert_nothing_left(lab: str, mounts: str, processes: set[int]) -> None:
    assert not keeper.state_directory(lab).exists()
    assert processes_of(lab) == []
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), "the end of the machine", 10.0)
    assert Path("/proc/mounts").read_text() == mounts


@pytest.fixture(scope="module")
def mounts() -> str:
    return Path("/proc/mounts").read_text()


@pytest.fixture(scope="module")
def lab(mounts: str) -> Iterator[str]:
    up = run_testbed("up", "--in-vm", "--lab", NAME)
    assert up.returncode == 0, up.stderr
    assert f"Lab {NAME} is up" in up.stdout
    assert "bringing the lab up" in up.stderr
    processes = children_of_keeper(NAME)
    assert len(processes) == 1
    try:
        yield NAME
    finally:
        assert run_testbed("down", "--lab", NAME).returncode == 0
    assert_nothing_left(NAME, mounts, processes)


def test_ping_by_hand_a_move_and_what_the_lma_has_of_it(lab: str) -> None:
    assert "2 received" in in_shell(lab, "mn", "ping -6 -i 0.2 -c 2 $CN")
    before = bindings(lab)
    assert [each["proxy_coa"] for each in before] == [MAG1]
    assert run_testbed("move", "--lab", lab, "mn", "mag2").returncode == 0
    assert "2 received" in in_shell(lab, "mn", "ping -6 -i 0.2 -c 2 -w 30 $CN")
    after = bindings(lab)
    assert [each["proxy_coa"] for each in after] == [MAG2]
    assert [each["hnps"] for each in after] == [each["hnps"] for each in before]
    shown = in_shell(lab, "mag2", "magctl show mobile-nodes")
    assert "mn1@example.net" in shown
    assert "registered" in shown


def test_the_status_of_a_shell_is_that_of_its_last_command(lab: str) -> None:
    assert run_testbed("shell", "--lab", lab, "cn", typed="exit 7\n").returncode == 7


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["shell", "mag9"], "there is no node mag9 in lab"),
        (["move", "mn", "mag9"], "there is no access router mag9 in lab"),
        (["move", "mn9", "mag1"], "there is no mobile node mn9 in lab"),
        (["up", "--in-vm"], "is up already"),
    ],
)
def test_what_cannot_be_done_is_one_line(lab: str, words: list[str], complaint: str) -> None:
    done = run_testbed(words[0], "--lab", lab, *words[1:])
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("testbed: ")
    assert complaint in done.stderr


def test_without_a_lab_it_is_one_line_too() -> None:
    for words in (["shell", "mn"], ["move", "mn", "mag2"], ["down"]):
        done = run_testbed(words[0], "--lab", "no-lab", *words[1:])
        assert (done.returncode, done.stderr) == (1, "testbed: there is no lab no-lab\n")


def test_a_second_lab_beside_the_first(lab: str, mounts: str) -> None:
    up = run_testbed("up", "--in-vm", "--lab", OTHER, "--mags", "3")
    assert up.returncode == 0, up.stderr
    processes = children_of_keeper(OTHER)
    try:
        assert run_testbed("move", "--lab", OTHER, "mn", "mag3").returncode == 0
        assert "2 received" in in_shell(OTHER, "mn", "ping -6 -i 0.2 -c 2 -w 30 $CN")
        assert [each["proxy_coa"] for each in bindings(OTHER)] == ["2001:db8:0:3::1"]
        assert [each["proxy_coa"] for each in bindings(lab)] != ["2001:db8:0:3::1"]
    finally:
        assert run_testbed("down", "--lab", OTHER).returncode == 0
    assert_nothing_left(OTHER, mounts, processes)
    assert "2 received" in in_shell(lab, "mn", "ping -6 -i 0.2 -c 2 $CN")


@pytest.mark.parametrize("moment", ["booting", "importing the daemons", "bringing the lab up"])
def test_ctrl_c_leaves_nothing(mounts: str, moment: str) -> None:
    name = f"{NAME}-c"
    command = [*TESTBED, "up", "--in-vm", "--lab", name]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPOSITORY, text=True) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if moment in line:
                break
        processes = children_of_keeper(name) & machines()
        up.send_signal(signal.SIGINT)
        up.stderr.read()
        assert up.wait(60.0) not in (0, None)
    assert_nothing_left(name, mounts, processes)
