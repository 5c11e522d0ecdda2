"""Whether a virtual machine here can have KVM."""

import functools
import os
import subprocess
import tempfile
from pathlib import Path

KVM_PROBE_LIMIT_SECONDS = 5.0


@functools.cache
def kvm_trouble() -> str | None:
    """Why KVM cannot be used, or None. The device may be there and QEMU fail or hang, so a machine is really run."""
    if not Path("/dev/kvm").exists():
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened by this user"
    # A boot sector that counts to 2^27, a fraction of a second, then writes 0x10 to port 0xf4, where isa-debug-exit
    # makes it QEMU's status 0x21. On a host that is a virtual machine itself KVM may emulate what a kernel does,
    # instruction by instruction: none would boot in an hour.
    count = b"\x66\xb9" + (1 << 27).to_bytes(4, "little") + b"\x66\x49\x75\xfc"  # mov ecx, 2^27; dec ecx; jnz
    program = (count + b"\xb0\x10\xe6\xf4").ljust(510, b"\x00") + b"\x55\xaa"
    with tempfile.TemporaryFile() as disk:
        disk.write(program)
        disk.flush()
        command = [
            *("qemu-system-x86_64", "-accel", "kvm", "-cpu", "host,topoext=on", "-nodefaults", "-display", "none"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
            *("-drive", f"format=raw,file=/proc/self/fd/{disk.fileno()},snapshot=on"),
        ]
        try:
            done = subprocess.run(
                command,
                pass_fds=[disk.fileno()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=KVM_PROBE_LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"/dev/kvm is there, but machines hang or crawl with it (tried for {KVM_PROBE_LIMIT_SECONDS:.0f} s)"
        except FileNotFoundError:
            return "there is no qemu-system-x86_64"
    if done.returncode == 0x21:
        return None
    return f"/dev/kvm is there, but QEMU fails with it: {(done.stderr.strip().splitlines() or ['no message'])[0]}"
