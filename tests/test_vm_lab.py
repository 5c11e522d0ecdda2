"""What has to be tried in a machine of one's own: a kernel without its tunnels, a run that is broken off."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from testbed.lab.node import wait_until
from testbed.lab.visit import LabSpec
from testbed.vm.command import REPOSITORY
from testbed.vm.machine import GuestError
from testbed.vm.qemu import VirtualMachine

pytestmark = pytest.mark.vm

NEVER = "/etc/modprobe.d/never.conf"


@pytest.fixture(scope="module")
def machine() -> Iterator[VirtualMachine]:
    with VirtualMachine("real", print) as booted:
        yield booted


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("ip6_tunnel", "(is the kernel module ip6_tunnel there? modprobe ip6_tunnel)"),
        (
            "nft_fib_ipv6",
            "(are the kernel modules there? "
            "modprobe -a nf_tables nft_fib_ipv6 nft_queue nft_limit nft_quota nft_objref)",
        ),
    ],
)
def test_without_its_kernel_module_a_daemon_says_what_to_load(machine: VirtualMachine, module: str, hint: str) -> None:
    taken = f"modprobe -r nft_fib_inet {module} && echo install {module} /bin/false >{NEVER}"
    # The kernel takes its time with the namespaces of the lab before, whose rules need the module.
    wait_until(lambda: machine.run(["sh", "-ec", taken]) == 0, f"{module} is still used")
    try:
        with pytest.raises(GuestError) as caught:
            machine.call("testbed.lab.interactive:up", {"name": "without-module", "spec": asdict(LabSpec())})
    finally:
        assert machine.run(["rm", NEVER]) == 0
    said = str(caught.value)
    assert caught.value.kind == "LabError"
    first = said.split("; ", maxsplit=1)[0]
    assert first.startswith("lma: lmad ended with 1: lmad: ")
    assert first.endswith(hint)
    assert "\n" not in said


def test_ctrl_c_in_a_measured_run_leaves_nothing(tmp_path: Path) -> None:
    mounts = Path("/proc/mounts").read_text()
    temporary = set(Path(tempfile.gettempdir()).glob("context-reflector-*"))
    json_path = tmp_path / "figures.json"
    command = ["handover", "--scheme", "pmipv6", "--count", "20", "--in-vm", "--json", str(json_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "testbed", *command], stderr=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "handover 1 of 20" in line:
                break
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        assert len(children) == 1  # QEMU
        run.send_signal(signal.SIGINT)
        run.stderr.read()
        assert run.wait(60.0) == 1
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in children), "the end of the machine", 10.0)
    assert Path("/proc/mounts").read_text() == mounts
    assert set(Path(tempfile.gettempdir()).glob("context-reflector-*")) == temporary
    assert list(tmp_path.iterdir()) == []
