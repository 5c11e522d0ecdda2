"""The clocks of an emulated processor, which a guest's kernel cannot measure reliably while it boots.

It compares its time stamp counter and its APIC's timer with other emulated timers, in loops that take all time that
passes for their own. On a busy host it came to 853 MHz for 2,300, and its time went 2.7 times too fast; timers ended a
fifth too late. So it is told how fast the counter runs, which is the host's own, and what it took the timers for is
looked at.
"""

import ctypes
import functools
import mmap
import re
import time
from collections.abc import Callable

_APIC_TIMER_HZ = 62_500_000  # QEMU's APIC counts nanoseconds, Linux every sixteenth
_READ_COUNTER = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"  # rdtsc; shl rdx, 32; or rax, rdx; ret
_MEASURED_SECONDS = 0.2
_TOLERANCE = 0.01
_TRIES = 20
_APIC_TIMER = re.compile(r"^Clock Event Device: lapic\n(?: .*\n)*? mult: +(\d+)\n shift: +(\d+)\n", re.MULTILINE)


def kernel_options() -> tuple[str, ...]:
    """What a kernel that is emulated in real time is told, so that it need not measure it.

    The first: it must not find its timer missing, and panic, because the host was busy when ten ticks were due.
    """
    return "no_timer_check", f"tsc_early_khz={counter_khz()}"


@functools.cache
def counter_khz() -> int:
    """How fast this host's time stamp counter runs, right to some 10 ppm. Takes a fifth of a second, once."""
    with mmap.mmap(-1, len(_READ_COUNTER), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(_READ_COUNTER)
        start = ctypes.c_char.from_buffer(code)  # keeps the mapping until it is deleted
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(start))
        first_ns, first = _at_one_moment(read)
        time.sleep(_MEASURED_SECONDS)
        last_ns, last = _at_one_moment(read)
        del start
    return round((last - first) * 1_000_000 / (last_ns - first_ns))


def apic_timer_trouble(timer_list: str) -> str | None:
    """What is wrong with the rate that a kernel took its APIC timers to have, from its /proc/timer_list, in one line.

    None where it uses other timers, as it does with KVM.
    """
    for mult, shift in _APIC_TIMER.findall(timer_list):
        taken_for_hz = int(mult) * 1e9 / 2 ** int(shift)
        if abs(taken_for_hz / _APIC_TIMER_HZ - 1) > _TOLERANCE:
            what = f"took its timer's {_APIC_TIMER_HZ / 1e6:.1f} MHz for {taken_for_hz / 1e6:.1f}"
            return f"the guest's kernel {what}: the host was too busy while it measured them"
    return None


def _at_one_moment(read: Callable[[], int]) -> tuple[int, int]:
    """The time in ns and the counter: of several tries, the one that was held up the least."""
    tries = []
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        counter = read()
        after = time.monotonic_ns()
        tries.append((after - before, (before + after) // 2, counter))
    return min(tries)[1:]
