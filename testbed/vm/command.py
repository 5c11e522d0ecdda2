"""What QEMU is to be called with, and which kernel it boots."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Literal, NamedTuple

from testbed.vm import clocks
from testbed.vm.guest import PORT_NAME
from testbed.vm.machine import MachineError

Clock = Literal["real", "virtual"]
REPOSITORY = Path(__file__).parents[2]
_WRITABLE = ("/var", "/tmp")  # besides what guest.sh lays over itself
_KERNEL_OPTIONS = (
    *("nokaslr", "norandmaps", "tsc=reliable", "mitigations=off"),  # the address layout fixed
    "module_blacklist=kvm,powernow_k8,acpi_cpufreq,libata,cdrom,psmouse,i2c_i801,lpc_ich,pcspkr,i6300esb,cryptd",
)
# What the kernel says goes to the console until guest.sh runs, so that a boot that fails can be explained.
_REAL_KERNEL_OPTIONS = ("loglevel=7",)
# So that figures repeat, what the kernel does for itself (in work queues) is put aside at once for packets: else one
# waits now and then, a tenth of a millisecond, for the end of that. Who makes huge pages is not put aside.
_VIRTUAL_KERNEL_OPTIONS = ("preempt=full", "transparent_hugepage=never")
_VIRTUAL_CLOCK = (
    *("-icount", "shift=0,sleep=off"),
    *("-rtc", "base=2026-01-01T00:00:00,clock=vm"),
)


class Plan(NamedTuple):
    """What to boot and how."""

    kernel: Path
    clock: Clock
    memory: str
    use_kvm: bool


def kernel_image() -> Path:
    """The newest kernel in /boot that has its modules. Raises MachineError if there is none."""
    images = [path for path in Path("/boot").glob("vmlinuz-*") if Path("/lib/modules", version(path)).is_dir()]
    if not images:
        raise MachineError("there is no kernel with modules in /boot: apt-get install linux-image-amd64")
    return max(images, key=lambda path: [int(part) for part in re.findall(r"\d+", version(path))])


def version(image: Path) -> str:
    """The release that a kernel's image is of, as uname gives it."""
    return image.name.removeprefix("vmlinuz-")


def qemu_command(plan: Plan, port: int, image: int, initramfs: IO[bytes]) -> list[str]:
    """How virtme-ng would call QEMU, with the agent's virtio-serial port and the image's disk on these descriptors.

    The initramfs that it makes goes into `initramfs`.
    """
    script = [str(REPOSITORY / "testbed/vm/guest.sh"), sys.executable, str(Path(sys.executable).parents[1]), plan.clock]
    is_virtual = plan.clock == "virtual"
    virtme = [
        *(str(Path(sys.executable).with_name("virtme-run")), "--dry-run", "--show-command"),
        *("--kimg", str(plan.kernel), "--mods", "auto", "--force-9p"),
        *("--name", PORT_NAME, "--memory", plan.memory, "--cpus", "1" if is_virtual else "2"),
        *([] if plan.use_kvm else ["--disable-kvm"]),
        *(f"--overlay-rwdir={path}" for path in _WRITABLE),
        *(word for option in _kernel_options(plan) for word in ("--kopt", option)),
        *("--show-boot-console", "--script-sh", f"cd {shlex.quote(str(REPOSITORY))} && exec bash {shlex.join(script)}"),
        *("--qemu-opts", "-nodefaults", "-chardev", f"socket,id=agent,fd={port}", "-device", "virtio-serial-pci"),
        *("-device", f"virtserialport,name={PORT_NAME},chardev=agent"),
        *("-drive", f"file=/proc/self/fd/{image},format=raw,if=virtio,snapshot=on"),
        *([] if plan.use_kvm else ["-cpu", "max,-erms,-fsrm,-rdrand,-rdseed"]),
        *(_VIRTUAL_CLOCK if is_virtual else ()),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "initramfs")
        virtme[3:3] = ["--save-initramfs", str(path)]
        try:
            said = subprocess.run(
                virtme,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=os.environ | {"TMPDIR": scratch},
                check=True,
            ).stdout
        except FileNotFoundError as error:
            raise MachineError(f"virtme-ng is not installed beside {sys.executable}: make setup") from error
        except subprocess.CalledProcessError as error:
            trouble = error.stderr.strip().splitlines() or ["no message"]
            raise MachineError(f"virtme-run failed: {trouble[-1]}") from error
        initramfs.write(path.read_bytes())
        initramfs.flush()
    words = [f"/proc/self/fd/{initramfs.fileno()}" if word == str(path) else word for word in shlex.split(said)]
    # Each of virtme-ng's ports has a controller, for 31 ports if nobody says how many, with two queues for each:
    # hundreds that QEMU looks at whenever one of its timers ends. One port there is, and one that is reserved.
    words = [re.sub(r"^virtio-serial-pci$", "virtio-serial-pci,max_ports=2", word) for word in words]
    # virtme-ng would read the script's status from a file that QEMU makes; the agent has better ways.
    return [re.sub(r"^(file,id=ret,path=).*", r"\1/dev/null", word) for word in words]


def _kernel_options(plan: Plan) -> tuple[str, ...]:
    if plan.clock == "virtual":
        return *_KERNEL_OPTIONS, *_VIRTUAL_KERNEL_OPTIONS
    return *_KERNEL_OPTIONS, *_REAL_KERNEL_OPTIONS, *(() if plan.use_kvm else clocks.kernel_options())
