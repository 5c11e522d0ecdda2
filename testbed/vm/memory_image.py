"""What a guest must have in its memory: one tar archive of every file that is used while something is measured.

A guest shares the host's root by 9p, and each access there takes as long as the host likes. So the programs of
the lab, the modules of Python that the agent imports, all libraries of both, and what these read in /etc go into an
archive, which the guest gets as a disk, unpacks in its memory and lays over the directories it comes from
(`guest.sh`). This also makes its start shorter: what is slow about importing scapy there is finding its files.
"""

import importlib
import json
import pkgutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from testbed.vm.machine import MachineError

OWN_PACKAGES = ("common", "lmad", "magd", "testbed")
# They import what takes long to import, and the guest would wait for that at every start.
_HOST_ONLY = ("testbed.report", "testbed.watch", "testbed.compare", "testbed.package", "testbed.__main__")
# Loaded by the guest before anything is measured; what else is asked for the kernel loads on demand.
KERNEL_MODULES = (
    *("ip6_tunnel", "veth", "bridge", "dummy", "sch_netem", "sch_prio", "cls_u32"),
    *("nf_tables", "nfnetlink", "nfnetlink_queue", "nft_queue", "nft_fib", "nft_fib_ipv6", "nft_fib_inet", "nft_ct"),
    *("nft_limit", "nft_quota", "nft_objref", "nft_dup_netdev"),
)
_PROGRAMS = (
    *("bash", "sh", "env", "sleep", "tar", "cat", "ls", "mount", "umount", "kmod", "modprobe", "sysctl"),
    *("ip", "tc", "nft", "ping", "iperf3", "tcpdump", "ldconfig"),
)
_CONFIGURATION = ("ld.so.cache", "nsswitch.conf", "passwd", "group", "protocols", "services", "localtime")
_CONFIGURATION_DIRECTORIES = ("/etc/iproute2", "/etc/modprobe.d", "/usr/lib/modprobe.d")
# Run in a Python of its own, so that the list does not depend on what this process has imported.
_LIST_FILES = """
import contextlib, importlib, importlib.util, json, sys, nftables
from testbed.vm.memory_image import own_modules
for name in own_modules():
    with contextlib.suppress(Exception):  # the guest will say what is wrong with it
        importlib.import_module(name)
nftables.Nftables()  # loads its library
files = {getattr(module, "__file__", None) for module in list(sys.modules.values())} - {None}
files |= {importlib.util.cache_from_source(path) for path in files if path.endswith(".py")}
with open("/proc/self/maps") as maps:
    files |= {line.split(None, 5)[5].strip() for line in maps if "/" in line}
json.dump(sorted(files), sys.stdout)
"""


def own_modules() -> Iterator[str]:
    """The names of all modules of this project that a guest has a use for."""
    for package in OWN_PACKAGES:
        yield package
        path = importlib.import_module(package).__path__
        modules = (module.name for module in pkgutil.walk_packages(path, f"{package}."))
        yield from (name for name in modules if not name.startswith(_HOST_ONLY))


def write(archive: IO[bytes], kernel_version: str) -> None:
    """Write the archive, names relative to the root directory."""
    files = {*_python_files(), *_program_files(), *_kernel_files(kernel_version), *_configuration_files()}
    with tarfile.open(fileobj=archive, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted({name for file in files for name in _with_link_targets(file)}):
            tar.add(path, str(path)[1:], recursive=False)
    archive.flush()


def _with_link_targets(path: Path) -> Iterator[Path]:
    """The file by the name it really has and by every symbolic link on the way there."""
    while path.exists():
        path = path.parent.resolve() / path.name
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _python_files() -> Iterator[Path]:
    """What importing all of ours opens, except ours: a guest is to see what is edited after its boot."""
    repository = Path(__file__).parents[2]
    ours = tuple(repository / package for package in OWN_PACKAGES)
    command = [sys.executable, "-c", _LIST_FILES]
    listed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)
    if listed.returncode:
        trouble = (listed.stderr.strip().splitlines() or ["no message"])[-1]
        raise MachineError(f"{sys.executable} cannot import what the lab needs (make setup): {trouble}")
    yield from (path for path in map(Path, json.loads(listed.stdout)) if not any(map(path.is_relative_to, ours)))
    environment = Path(sys.executable).parents[1]
    yield from (environment / "pyvenv.cfg", Path(sys.executable))
    yield from Path(sysconfig.get_path("purelib")).glob("*.pth")


def _program_files() -> set[Path]:
    programs = [path for name in _PROGRAMS if (path := _program(name))]
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    libraries = {Path(word) for word in listed.split() if word.startswith("/") and not word.endswith(":")}
    name_services = Path("/usr/lib").glob("*-linux-gnu/libnss_*.so*")
    return {*programs, *libraries, *name_services}


def _program(name: str) -> Path | None:
    return next((path for place in ("/usr/sbin", "/usr/bin") if (path := Path(place, name)).exists()), None)


def _kernel_files(version: str) -> Iterable[Path]:
    """The modules, those that they need, and the indexes that modprobe reads."""
    command = ["/usr/sbin/modprobe", "--set-version", version, "--show-depends", "--all", *KERNEL_MODULES]
    listed = subprocess.run(
        command, capture_output=True, text=True, check=False
    ).stdout  # a missing one is the doctor's
    modules = {Path(line.split()[1]) for line in listed.splitlines() if line.startswith("insmod")}
    return {*modules, *Path("/usr/lib/modules", version).glob("modules.*.bin")}


def _configuration_files() -> Iterator[Path]:
    yield from (Path("/etc", name) for name in _CONFIGURATION)
    for directory in _CONFIGURATION_DIRECTORIES:
        yield from (path for path in Path(directory).glob("*") if path.is_file())
