"""`make test-deb`: the package, installed in a Debian machine of its own whose first process is systemd, and tried.

A pristine Debian (mmdebstrap; kept in build/) gets this machine's kernel and the package as a file; QEMU boots it, with
KVM where that works. `trial_guest.py` is its only other content: a service that installs the package, runs anchor and
gateways as services, moves a node between them, and says what it found on the console.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from testbed.vm import clocks
from testbed.vm.command import kernel_image
from testbed.vm.kvm import kvm_trouble
from testbed.vm.machine import MachineError

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"
SUITE = "bookworm"
PACKAGES = (
    *("systemd-sysv", "dbus", "udev", "kmod", "iproute2", "nftables", "iputils-ping", "procps"),
    *("python3", "python3-nftables", "python3-systemd"),  # what the package depends on: the machine has no network
)
MODULES = (
    *("virtio_blk", "ext4", "veth", "bridge", "ip6_tunnel", "nf_tables", "nft_fib_ipv6", "nft_queue", "nft_quota"),
    *("nft_objref", "nft_limit", "nfnetlink_queue", "sch_netem"),
)
KERNEL_OPTIONS = (
    *("root=/dev/vda", "rw", "console=ttyS0", "quiet", "panic=-1", "mitigations=off", "systemd.show_status=0"),
    "systemd.mask=serial-getty@ttyS0.service",  # the console is the trial's
)
LIMIT_S = 1500.0
PASSED = "TRIAL PASSED"
TERMINAL = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|.)")  # what a firmware sends to whoever it takes for a terminal


def main() -> int:
    BUILD.mkdir(exist_ok=True)
    deb = ROOT / _run(["bash", "testbed/package/build.sh"]).strip().splitlines()[-1]
    print(f"trial: built {deb.name}", flush=True)
    kernel = kernel_image()
    with tempfile.TemporaryDirectory(dir=BUILD) as directory:
        disk = Path(directory, "disk")
        _fill(Path(directory, "root"), deb, kernel.name.removeprefix("vmlinuz-"))
        _run(["mke2fs", "-q", "-t", "ext4", "-d", f"{directory}/root", str(disk), "1500M"])
        return _boot(kernel, disk)


def _fill(root: Path, deb: Path, version: str) -> None:
    """The machine's root directory."""
    root.mkdir()
    _run(["tar", "-xf", str(_base()), "-C", str(root)])
    shutil.copy(deb, root / "root" / "context-reflector.deb")
    shutil.copy(ROOT / "testbed/package/trial_guest.py", root / "root" / "trial.py")
    modules = root / "usr/lib/modules" / version
    for name in MODULES:
        for line in _run(["modprobe", "--show-depends", "--set-version", version, name]).splitlines():
            kind, _, path = line.partition(" ")
            if kind == "insmod":
                source = Path(path.strip())
                target = modules / source.relative_to(Path("/lib/modules", version))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(Path("/lib/modules", version, name), modules)
    _run(["depmod", "--basedir", str(root), version])
    unit = root / "etc/systemd/system/trial.service"
    unit.write_text(
        "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/usr/bin/python3 -u /root/trial.py\n"
        "StandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n[Install]\nWantedBy=multi-user.target\n"
    )
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / unit.name).symlink_to(f"/etc/systemd/system/{unit.name}")


def _base() -> Path:
    """The pristine Debian as a tar file, made once."""
    name = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    base = BUILD / f"debian-{name}.tar"
    if not base.exists():
        print(f"trial: making a Debian {SUITE} (a minute, and 100 MB from its mirror)", flush=True)
        half = base.with_suffix(".half.tar")
        _run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(half)])
        half.rename(base)
    return base


def _boot(kernel: Path, disk: Path) -> int:
    """Run the machine to its end; what it says goes to our output. 0 when it says that everything was right."""
    kvm = kvm_trouble() is None
    print(f"trial: booting {kernel.name} {'with KVM' if kvm else 'by emulation'}", flush=True)
    initrd = kernel.with_name(kernel.name.replace("vmlinuz-", "initrd.img-"))
    if not initrd.exists():
        raise MachineError(f"{initrd} is missing: update-initramfs -c -k {kernel.name.removeprefix('vmlinuz-')}")
    options = [*KERNEL_OPTIONS, *(() if kvm else clocks.kernel_options())]
    command = [
        "qemu-system-x86_64",
        *(("-enable-kvm", "-cpu", "host") if kvm else ("-cpu", "max")),
        *("-smp", "2", "-m", "1G", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(initrd), "-append", " ".join(options)),
        *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
    ]
    passed = False
    start = time.monotonic()
    with subprocess.Popen(
        ["timeout", str(LIMIT_S), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as qemu:
        assert qemu.stdout is not None
        try:
            for octets in qemu.stdout:
                line = TERMINAL.sub("", octets.decode(errors="replace")).strip()
                print(f"{time.monotonic() - start:5.0f} s  {line}", flush=True)
                passed |= line.endswith(PASSED)
        finally:
            qemu.terminate()
    return 0 if passed else 1


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineError(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MachineError as error:
        sys.exit(f"trial: {error}")
