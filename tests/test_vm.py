"""The virtual machine: what it runs, what it says when something goes wrong, and that nothing of it stays behind."""

import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.vm import keeper, qemu
from testbed.vm.frames import Kind
from testbed.vm.machine import GuestError, Machine, MachineError
from testbed.vm.qemu import VirtualMachine

pytestmark = pytest.mark.vm

NETNS_TOOLS = "ip netns add a && ip -n a link add probe type dummy && ip netns del a"


@pytest.fixture(scope="module")
def virtual(said_at_boot: list[str]) -> Iterator[VirtualMachine]:
    """One machine with the virtual clock for all tests that do not end it. Its first boot was given up as hopeless."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(qemu, "SIGN_OF_LIFE_LIMIT_SECONDS", 1.0)
        machine = VirtualMachine("virtual", said_at_boot.append)
    with machine:
        yield machine


@pytest.fixture(scope="module")
def said_at_boot() -> list[str]:
    return []


def output_of(machine: Machine, *argv: str) -> str:
    output = bytearray()
    assert machine.run(argv, output=output.extend, error_output=output.extend) == 0, output.decode()
    return output.decode()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_a_machine_without_a_sign_of_life_is_booted_anew(virtual: VirtualMachine, said_at_boot: list[str]) -> None:
    booting, given_up, booting_anew, *_, ready = said_at_boot
    assert given_up.startswith("the virtual machine gave no sign of life in 1 s; the last of its console: ")
    assert given_up.endswith("; it is booted anew")
    assert booting == booting_anew
    assert ready.endswith("the virtual machine is ready")


def test_the_guest_has_what_the_host_may_lack(virtual: VirtualMachine) -> None:
    assert virtual.guest["failed"] == {}
    modules = output_of(virtual, "cat", "/proc/modules")
    assert all(f"{name} " in modules for name in ("ip6_tunnel", "sch_netem", "nft_queue", "nfnetlink_queue"))
    output_of(virtual, "sh", "-ec", NETNS_TOOLS)


def test_a_call_returns_its_result_and_reports_progress(virtual: VirtualMachine) -> None:
    told: list[str] = []
    assert virtual.call("testbed.vm.guest:ping", progress=told.append) == "pong"
    assert told == ["on its way"]


def test_an_exception_in_the_guest_is_raised_here(virtual: VirtualMachine) -> None:
    with pytest.raises(GuestError, match=r"^No module named 'nothing'$") as caught:
        virtual.call("nothing:at_all")
    assert caught.value.kind == "ModuleNotFoundError"
    assert "Traceback" in caught.value.traceback


def test_a_process_that_cannot_be_started_is_status_127(virtual: VirtualMachine) -> None:
    errors = bytearray()
    assert virtual.run(["no-such-program"], error_output=errors.extend) == 127
    assert errors == b"no-such-program: No such file or directory\n"


def test_files_go_in_and_out(virtual: VirtualMachine, tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    content = os.urandom(3_000_000)
    (tmp_path / "in/deep/file").write_bytes(content)
    virtual.push(tmp_path / "in", "/run/there")
    virtual.pull("/run/there", tmp_path / "out")
    assert (tmp_path / "out/deep/file").read_bytes() == content
    with pytest.raises(MachineError, match=r"in the guest, tar ended with status 2: tar: /nowhere"):
        virtual.pull("/nowhere", tmp_path / "out")


def test_what_the_host_writes_after_the_boot_is_seen(virtual: VirtualMachine) -> None:
    # In the repository, where a person edits between two runs of a lab that stays up.
    file = Path(__file__).with_name(f"written-after-boot-{os.getpid()}")
    try:
        for text in ("one", "another"):
            file.write_text(text)
            assert output_of(virtual, "cat", str(file)) == text
    finally:
        file.unlink()


def test_the_virtual_clock_stands_still_between_calls(virtual: VirtualMachine) -> None:
    output_of(virtual, "true")
    assert state_of(virtual.pid) == "T"
    before, after = (float(output_of(virtual, "cat", "/proc/uptime").split()[0]) for _ in range(2))
    assert after - before < 10  # ten minutes went by in the time that a loaded host took to stop an idle guest


def test_sleeping_takes_no_real_time_with_the_virtual_clock(virtual: VirtualMachine) -> None:
    started = time.monotonic()
    output_of(virtual, "sleep", "600")
    assert time.monotonic() - started < 60


def test_a_terminal_has_its_size_and_takes_ctrl_c(virtual: VirtualMachine) -> None:
    what = {"argv": ["bash", "--norc"], "environment": {"PS1": "$ "}, "terminal": {"rows": 33, "columns": 99}}
    said = bytearray()
    with virtual.open(what) as terminal:
        terminal.send_json(Kind.RESIZE, {"rows": 44, "columns": 111})
        # One job for both: when the size is there, Ctrl-C finds it in the foreground, be it cat already or not.
        terminal.send(Kind.DATA, b"sh -c 'stty size; exec cat'\n")
        for frame in terminal:
            said += frame.payload
            if b"44 111" in said:
                break
        terminal.send(Kind.DATA, b"\x03")  # ends cat, which would read what comes right behind it
        said.clear()
        for frame in terminal:
            said += frame.payload
            if b"$ " in said:
                break
        terminal.send(Kind.DATA, b"exit 7\n")
        last = list(terminal)[-1]
    assert last.json() == {"status": 7}


def test_leaving_a_channel_stops_its_process(virtual: VirtualMachine) -> None:
    started = time.monotonic()
    with virtual.open({"argv": ["sleep", "10000000"]}):
        pass
    assert time.monotonic() - started < 15  # at the first, friendly attempt
    assert "10000000" not in output_of(virtual, "ps", "-eo", "args")


def test_a_machine_that_dies_says_so(virtual: VirtualMachine) -> None:
    """The last of those that have it."""
    os.kill(virtual.pid, signal.SIGKILL)
    with pytest.raises(MachineError, match="the virtual machine ended unexpectedly"):
        virtual.run(["true"])


def test_the_machine_dies_with_its_host_process(tmp_path: Path) -> None:
    """Killed where nothing can be cleaned up, while QEMU is stopped."""
    program = """
        import sys
        from testbed.vm.qemu import VirtualMachine
        with VirtualMachine("virtual") as machine:
            print(machine.pid, flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as host:
        assert host.stdout is not None
        qemu = os.pidfd_open(int(host.stdout.readline()))
        host.kill()
    assert select.select([qemu], [], [], 10)[0]
    os.close(qemu)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_stays_up_is_found_again_by_others_and_leaves_nothing() -> None:
    name = f"test-{os.getpid()}"
    with keeper.start(name, "virtual", print) as machine:
        output_of(machine, "sh", "-c", "echo remembered >/run/note")
        with pytest.raises(MachineError, match="is up already"):
            keeper.start(name)
    try:
        with keeper.attach(name) as first, keeper.attach(name) as second:
            assert output_of(first, "cat", "/run/note") == "remembered\n"
            assert second.call("testbed.vm.guest:ping") == "pong"
        # A client that vanishes takes along what it began.
        with keeper.attach(name) as lost:
            lost.open({"argv": ["sleep", "100000"]})
            output_of(lost, "true")
        with keeper.attach(name) as machine:
            wait = "while pgrep -x sleep; do read -t 1 <> <(:); done"
            output_of(machine, "bash", "-c", wait)
        status, shown = _typed_into_a_shell(name, b"cat /run/note\nexit 3\n")
        assert (status, shown.count("remembered")) == (3, 1)
    finally:
        assert keeper.stop(name)
    assert not keeper.stop(name)
    assert not keeper.state_directory(name).exists()
    with pytest.raises(MachineError, match="no virtual machine of lab"):
        keeper.attach(name)


def _typed_into_a_shell(name: str, keys: bytes) -> tuple[int, str]:
    """What a person at a terminal gets: the exit status and all that was shown."""
    program = (
        "import sys; from testbed.vm import keeper, terminal; m = keeper.attach(sys.argv[1]);"
        "status = terminal.shell(m, ['bash', '--norc']); m.close(); sys.exit(status)"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", program, name])
    os.write(terminal, keys)
    said = b""
    try:
        while data := os.read(terminal, 65536):
            said += data
    except OSError:  # how the end of a terminal reads
        pass
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, said.decode()
