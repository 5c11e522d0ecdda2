"""What a busy host does to the clocks of an emulated machine that boots: nothing that is not noticed."""

import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from testbed.vm.clocks import apic_timer_trouble, counter_khz
from testbed.vm.command import Plan, kernel_image, qemu_command

TIMER_LIST = """\
Timer List Version: v0.9
Tick Device: mode:     1
Broadcast device
Clock Event Device: hpet
 max_delta_ns:   21474836451
 min_delta_ns:   1410
 mult:           429496730
 shift:          32
Tick Device: mode:     1
Per CPU device: 0
Clock Event Device: lapic
 max_delta_ns:   34359738368
 min_delta_ns:   1000
 mult:           268433308
 shift:          32
 mode:           3
Tick Device: mode:     1
Per CPU device: 1
Clock Event Device: lapic
 max_delta_ns:   34359738368
 min_delta_ns:   1000
 mult:           {mult}
 shift:          32
 mode:           3
"""
HELD_UP_S = 0.06  # the kernel wants to see five ticks in 70 ms; what it measures takes 10, 50 or 100 ms
FREE_S = 0.001


def test_the_rate_of_the_hosts_counter_is_the_same_at_each_measurement() -> None:
    first = counter_khz()
    counter_khz.cache_clear()
    assert first == pytest.approx(counter_khz(), rel=1e-4)
    assert 500_000 < first < 10_000_000


def test_a_timer_measured_right_is_no_trouble() -> None:
    assert apic_timer_trouble(TIMER_LIST.format(mult=268435456)) is None
    assert apic_timer_trouble("Clock Event Device: lapic-deadline\n mult:           1\n shift:          32\n") is None


def test_a_timer_measured_wrong_is_named() -> None:
    assert apic_timer_trouble(TIMER_LIST.format(mult=321624202)) == (
        "the guest's kernel took its timer's 62.5 MHz for 74.9: the host was too busy while it measured them"
    )


@pytest.mark.vm
def test_a_kernel_that_is_held_up_while_it_boots_knows_its_clock_and_finds_its_timer(tmp_path: Path) -> None:
    said = console_of_a_boot_held_up(tmp_path / "console", "..TIMER:", "smpboot: CPU0:")
    assert "MP-BIOS bug" not in said
    taken_for_mhz = re.findall(r"tsc: Detected ([\d.]+) MHz", said)[-1]
    assert float(taken_for_mhz) * 1000 == counter_khz(), said


def console_of_a_boot_held_up(console: Path, first: str, last: str) -> str:
    """Boot a machine and stop it again and again between two messages of its kernel; all messages up to the last."""
    port, other_end = socket.socketpair()
    with (
        port,
        other_end,
        console.open("w") as out,
        tempfile.TemporaryFile() as image,
        tempfile.TemporaryFile() as initrd,
    ):
        plan = Plan(kernel_image(), "real", "2G", use_kvm=False)
        command = qemu_command(plan, port.fileno(), image.fileno(), initrd)
        passed = [port.fileno(), image.fileno(), initrd.fileno()]
        qemu = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=passed,
        )
        with qemu:
            try:
                while first not in console.read_text(errors="replace") and qemu.poll() is None:
                    time.sleep(FREE_S)
                while last not in (said := console.read_text(errors="replace")) and qemu.poll() is None:
                    qemu.send_signal(signal.SIGSTOP)
                    time.sleep(HELD_UP_S)
                    qemu.send_signal(signal.SIGCONT)
                    time.sleep(FREE_S)
            finally:
                qemu.kill()
    assert last in said, said
    return said
