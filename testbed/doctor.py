"""What this machine can run natively, what needs the virtual machine, and why.

Nothing is concluded from names or versions: each ability is tried, in a network namespace that is gone afterwards.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.vm.command import kernel_image
from testbed.vm.kvm import kvm_trouble
from testbed.vm.machine import MachineError

Where = Literal["native", "vm"]
_PROBE_LIMIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing tried: `why` says what came of it, `remedy` what to do if it matters; not `required`: only faster."""

    where: Where
    what: str
    ok: bool
    why: str
    remedy: str = ""
    required: bool = True


def checks() -> list[Check]:
    """Try everything; takes a second or two."""
    return [*_native_checks(), *_vm_checks()]


def native_ok() -> bool:
    """The lab can run on this kernel."""
    return _all_ok(list(_native_checks()), "native")


def usable(results: list[Check]) -> bool:
    """The lab can run at all, here or in the virtual machine."""
    return _all_ok(results, "native") or _all_ok(results, "vm")


def render(results: list[Check]) -> str:
    """For a person to read: both lists, and what follows from them."""
    lines = []
    for where, title in (("native", "Natively, on this kernel"), ("vm", "In the virtual machine")):
        lines.append(f"{title} ({os.uname().release}):" if where == "native" else f"{title}:")
        for check in (check for check in results if check.where == where):
            mark = "ok" if check.ok else "MISSING" if check.required else "no"
            lines.append(f"  {mark:8}{check.what}: {check.why}")
            if check.remedy and not check.ok:
                lines.append(f"  {'':8}  -> {check.remedy}")
        lines.append("")
    return "\n".join([*lines, _conclusion(results)])


def _conclusion(results: list[Check]) -> str:
    missing = ", ".join(c.what for c in results if c.where == "native" and c.required and not c.ok)
    if not missing:
        return "The lab runs natively; --in-vm and --clock virtual take the virtual machine."
    if _all_ok(results, "vm"):
        return f"The lab runs in the virtual machine, because this kernel or system lacks: {missing}."
    return f"The lab cannot run: natively {missing} lacking, and the virtual machine lacks what is marked above."


def _all_ok(results: list[Check], where: Where) -> bool:
    return all(check.ok or not check.required for check in results if check.where == where)


# What is tried, each in a namespace of its own, by `sh -e`.
_ABILITIES = (
    ("veth", "ip link add probe0 type veth peer name probe1"),
    ("bridge", "ip link add probe type bridge"),
    ("ip6_tunnel", "ip -6 tunnel add probe mode ip6ip6 local 2001:db8::1 remote 2001:db8::2 encaplimit none"),
    ("sch_netem", "tc qdisc add dev lo root netem delay 1ms"),
    (
        "nft fib",
        "nft 'table ip6 probe { chain c { type filter hook prerouting priority 0; fib saddr oif missing drop; }; }'",
    ),
    (
        "nft egress",
        "nft 'table netdev probe { chain c { type filter hook egress devices = { lo } priority 0; dup to lo; }; }'",
    ),
    ("nft queue", "nft 'table ip6 probe { chain c { type filter hook prerouting priority 0; queue num 1; }; }'"),
    ("nfnetlink_queue", "modprobe -q nfnetlink_queue || :; test -e /proc/net/netfilter/nfnetlink_queue"),
)
_TOOLS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "tcpdump": "tcpdump",
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    "tshark": "tshark",
}


def _native_checks() -> Iterator[Check]:
    namespace = _attempt("true")
    yield Check("native", "root", namespace is None, namespace or "network namespaces can be made", "run it as root")
    for what, script in _ABILITIES:
        trouble = namespace and "not tried without network namespaces"
        trouble = trouble or _attempt(script)
        yield Check(
            "native", what, trouble is None, trouble or "works", "none on this kernel: the virtual machine has it"
        )
    for tool, package in _TOOLS.items():
        yield _tool("native", tool, package)
    yield from _binding()


def _vm_checks() -> Iterator[Check]:
    yield _tool("vm", "qemu-system-x86_64", "qemu-system-x86")
    try:
        yield Check("vm", "kernel image", True, str(kernel_image()))
    except MachineError as error:
        yield Check("vm", "kernel image", False, str(error), "make setup")
    virtme = Path(sys.executable).with_name("virtme-run")
    found = virtme.exists()
    yield Check("vm", "virtme-ng", found, str(virtme) if found else f"there is no {virtme}", "make setup")
    yield _tool("vm", "busybox", "busybox-static")
    yield from (_tool("vm", tool, package) for tool, package in _TOOLS.items())  # the guest uses the host's
    trouble = kvm_trouble()
    slower = "none needed: the processor is emulated, some ten times slower"
    yield Check("vm", "KVM", trouble is None, trouble or "/dev/kvm works", slower, required=False)


def _tool(where: Where, name: str, package: str) -> Check:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    return Check(where, name, path is not None, path or "not installed", f"apt-get install {package} (make setup does)")


def _binding() -> Iterator[Check]:
    found = importlib.util.find_spec("nftables") is not None
    why = "importable" if found else f"not importable by {sys.executable}"
    yield Check("native", "python3-nftables", found, why, "apt-get install python3-nftables (make setup does)")


def _attempt(script: str) -> str | None:
    """Run the script in a network namespace of its own; None if it works, else one line why not."""
    command = ["unshare", "--net", "--", "sh", "-ec", script]
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_PROBE_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer for {_PROBE_LIMIT_SECONDS:.0f} s"
    if done.returncode == 0:
        return None
    said = [line.strip() for line in done.stderr.splitlines() if line.strip(" ^~\t")]
    return said[0] if said else "the kernel does not have it"
