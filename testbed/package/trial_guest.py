"""Inside the machine of trial.py, as a service of it: install, serve, hand over, reload, watch, remove."""

import json
import os
import pwd
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ETC = Path("/etc/context-reflector")
UNITS = Path("/etc/systemd/system")
MN_MAC = "02:00:00:00:00:01"
MN_ID = "mn1@example.net"
SERVICES = ("lmad", "magd", "magd-mag2")
NODES = {"lmad": "lma", "magd": "mag1", "magd-mag2": "mag2"}
LIMIT_S = 240.0  # for what takes a second on a machine that is not emulated
L2_S = 0.05

LMAD = """
[lma]
address = "2001:db8:0:ff::1"
scheme = "context-reflector"
prefix_pools = ["2001:db8:1000::/36"]
metrics_address = "::1"

[[mag]]
address = "2001:db8:0:1::1"

[[mag]]
address = "2001:db8:0:2::1"

[[mobile_node]]
mn_id = "mn1@example.net"
"""
MAGD = """
[mag]
address = "2001:db8:0:{number}::1"
lma = "2001:db8:0:ff::1"
scheme = "context-reflector"
access_interfaces = ["acc{number}"]
control_socket = "/run/context-reflector/{service}.sock"

[context_reflector]
neighbours = ["2001:db8:0:{other}::1"]

[[mobile_node]]
mn_id = "mn1@example.net"
ll_id = "02:00:00:00:00:01"
interface = "acc{number}"
"""
failures = 0


def run(command: str, *, may_fail: bool = False) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        raise RuntimeError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout + (done.stderr if may_fail else "")


def check(what: str, good: object, said: object = "") -> None:
    global failures  # noqa: PLW0603 - the one thing that this script remembers
    failures += not good
    print(f"{'ok' if good else 'NOT OK'}: {what}{f' ({said})' if said != '' else ''}", flush=True)


def until(what: str, condition: Callable[[], object]) -> None:
    start = time.monotonic()
    while not (good := condition()) and time.monotonic() - start < LIMIT_S:
        time.sleep(0.1)
    check(what, good, f"{time.monotonic() - start:.1f} s")


def network() -> None:
    """Anchor, two gateways, a node with one interface whose link is to either, a correspondent; each in a namespace."""
    for name in ("lma", "mag1", "mag2", "mn", "cn"):
        run(f"ip netns add {name}; ip -n {name} link set lo up")
        run(f"ip netns exec {name} sysctl -qw net.ipv6.conf.all.forwarding={int(name not in ('mn', 'cn'))}")
        run(f"ip netns exec {name} sysctl -qw net.ipv6.conf.default.accept_dad=0")
    for number, node, subnet in ((1, "mag1", "0:1"), (2, "mag2", "0:2"), (3, "cn", "c")):
        run(f"ip link add w{number} netns lma type veth peer name core netns {node}")
        run(f"ip -n lma addr add 2001:db8:{subnet}::ff/64 dev w{number} nodad; ip -n lma link set w{number} up")
        run(f"ip -n {node} addr add 2001:db8:{subnet}::1/64 dev core nodad; ip -n {node} link set core up")
        run(f"ip -n {node} -6 route add default via 2001:db8:{subnet}::ff")
    run("ip -n lma addr add 2001:db8:0:ff::1/128 dev lo nodad")
    run(f"ip -n mn link add air address {MN_MAC} type bridge; ip -n mn link set air up")
    for number in (1, 2):
        # Different indexes, so that the kernel tells of a carrier at once.
        run(
            f"ip link add acc{number} index {10 + number} netns mag{number} type veth"
            f" peer name air{number} index {20 + number} netns mn"
        )
        run(f"ip -n mn link set air{number} master air; ip -n mag{number} link set acc{number} up")


def services() -> None:
    """Each in the namespace of its node; the second gateway is the first one's unit with another file."""
    unit = Path("/lib/systemd/system/magd.service").read_text()
    (UNITS / "magd-mag2.service").write_text(unit.replace("/magd.toml", "/magd-mag2.toml"))
    for service, node in NODES.items():
        (UNITS / f"{service}.service.d").mkdir()
        (UNITS / f"{service}.service.d/node.conf").write_text(
            f"[Service]\nNetworkNamespacePath=/run/netns/{node}\nTimeoutStartSec=600\nWatchdogSec=60\n"
        )
    (ETC / "lmad.toml").write_text(LMAD)
    (ETC / "magd.toml").write_text(MAGD.format(number=1, other=2, service="magd"))
    (ETC / "magd-mag2.toml").write_text(MAGD.format(number=2, other=1, service="magd-mag2"))
    run("systemctl daemon-reload")


def show(service: str, subject: str) -> list[dict[str, object]]:
    control = "lmactl" if service == "lmad" else f"magctl --socket /run/context-reflector/{service}.sock"
    return json.loads(run(f"{control} show {subject} --json"))  # type: ignore[no-any-return]


def serving() -> str:
    rows = [row for row in show("lmad", "bindings") if row["state"] == "registered"]
    return str(rows[0]["proxy_coa"]) if rows else ""


def move(old: int, new: int) -> None:
    run(f"ip -n mn link set air{old} down")
    time.sleep(L2_S)
    run(f"ip -n mn link set air{new} up")


def property_of(service: str, name: str) -> str:
    return run(f"systemctl show --property={name} --value {service}").strip()


def installation() -> None:
    run("apt-get install --yes --no-install-recommends /root/context-reflector.deb")
    check("the package is installed", "ii  context-reflector" in run("dpkg -l context-reflector"))
    check("it has a user of its own", pwd.getpwnam("context-reflector").pw_shell == "/usr/sbin/nologin")
    check(
        "nothing runs before it is configured",
        run("systemctl is-active lmad magd", may_fail=True).split() == ["inactive"] * 2,
    )
    complaints = run("systemd-analyze verify --man=no lmad.service magd.service", may_fail=True)
    check("systemd-analyze verify has nothing to say", not complaints.strip(), complaints.strip())
    for daemon in ("lmad", "magd"):
        check(
            f"the {daemon}.toml that came with it is good",
            "good" in run(f"{daemon} --config {ETC}/{daemon}.toml --check"),
        )


def start() -> None:
    print("starting the services", flush=True)
    begun = time.monotonic()
    run(f"systemctl start {' '.join(SERVICES)}", may_fail=True)
    for service in SERVICES:
        active = property_of(service, "ActiveState")
        if active != "active":
            print(run(f"journalctl --no-pager -n 20 -u {service}"), flush=True)
        check(f"{service} serves", active == "active", f"{time.monotonic() - begun:.0f} s")
        status = Path("/proc", property_of(service, "MainPID"), "status").read_text()
        found = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
        check(f"{service} is nobody special", found["Uid"].split()[0] == str(pwd.getpwnam("context-reflector").pw_uid))
        check(f"{service} has two capabilities", found["CapEff"] == found["CapBnd"] == f"{(1 << 12) | (1 << 13):016x}")


def handovers() -> None:
    run("ip -n mn link set air1 up")
    until("the node is registered through mag1", lambda: serving() == "2001:db8:0:1::1")
    until("and has an address", lambda: "2001:db8:1" in run("ip -n mn -6 addr show dev air scope global"))
    [address] = re.findall(r"2001:db8:1[0-9a-f:]+", run("ip -n mn -6 addr show dev air scope global"))
    until(
        "that the correspondent reaches",
        lambda: " 1 received" in run(f"ip netns exec cn ping -c1 -W1 {address}", may_fail=True),
    )
    ping = subprocess.Popen(
        ["ip", "netns", "exec", "cn", "ping", "-i", "0.02", "-c", "400", address], stdout=subprocess.PIPE, text=True
    )
    for old, new in ((1, 2), (2, 1), (1, 2)):
        move(old, new)
        until(f"handed over to mag{new}", lambda new=new: serving() == f"2001:db8:0:{new}::1")  # type: ignore[misc]
        time.sleep(0.5)
    said, _ = ping.communicate()
    result = next((line for line in said.splitlines() if "transmitted" in line), said)
    sent, received = (int(number) for number in re.findall(r"(\d+) (?:packets transmitted|received)", result))
    # When the node leaves, one ping or its answer may be on the air. In the network none is lost.
    check(
        "nothing was lost in three handovers but on the air",
        sent - received <= 3 and "duplicates" not in result,
        result,
    )
    counters = show("lmad", "counters")
    assert isinstance(counters, dict)
    check("packets were held meanwhile", counters.get("hold-released", 0) >= 3, counters.get("hold-released"))
    until("no hold is left", lambda: not show("lmad", "holds"))


def operation() -> None:
    entries = [json.loads(line) for line in run("journalctl -o json -u lmad EVENT=hold-released").splitlines()]
    check("the journal finds events by field", len(entries) >= 3 and {entry["MN_ID"] for entry in entries} == {MN_ID})
    check("and they have a priority", {entry["PRIORITY"] for entry in entries} == {"6"})
    script = "import urllib.request; print(urllib.request.urlopen('http://[::1]:9213/metrics').read().decode())"
    metrics = run(f'ip netns exec lma python3 -c "{script}"')
    found = re.findall(r'handover_phase_seconds_count\{phase="hold"\} ([0-9.]+)', metrics)
    check("metrics are served", found and float(found[0]) >= 3, found)
    stranger = run("runuser -u nobody -- lmactl show bindings", may_fail=True)
    check("a stranger is not let in", "Permission denied" in stranger, stranger.strip())
    run("usermod -aG context-reflector nobody")
    check("a member of the group is", MN_ID in run("runuser -u nobody -- lmactl show bindings"))


def reload() -> None:
    (ETC / "lmad.toml").write_text(LMAD.replace("[lma]", "[lma]\nmax_lifetime = 400\nprefix_count = 0"))
    said = run("systemctl reload lmad", may_fail=True)
    check("a wrong file is refused on reload", "failed" in said, said.strip())
    (ETC / "lmad.toml").write_text(LMAD.replace("[lma]", "[lma]\nmax_lifetime = 400"))
    run("systemctl reload lmad")
    until("a right one is taken", lambda: run("journalctl --no-pager -u lmad EVENT=reloaded --output=cat").strip())


def mishaps() -> None:
    run("systemctl restart lmad", may_fail=True)
    until("lmad serves again", lambda: property_of("lmad", "ActiveState") == "active")
    pid = property_of("lmad", "MainPID")
    run(f"kill -STOP {pid}")
    until(
        "an lmad that hangs is ended by the watchdog and started again",
        lambda: property_of("lmad", "MainPID") not in (pid, "0") and property_of("lmad", "ActiveState") == "active",
    )


def removal() -> None:
    run(f"systemctl stop {' '.join(SERVICES)}")
    for service, node in NODES.items():
        check(f"{service} ended in order", property_of(service, "Result") == "success")
        left = run(
            f"ip -n {node} -o link show type ip6tnl | grep -E 'pml|pmg'; ip netns exec {node} nft list ruleset",
            may_fail=True,
        )
        check(f"and left nothing in {node}", not left.strip(), left.strip())
    run("apt-get purge --yes context-reflector")
    check("purged", not any(path.exists() for path in (Path("/usr/sbin/lmad"), ETC / "lmad.toml")))


def main() -> None:
    try:
        for step in (installation, network, services, start, handovers, operation, reload, mishaps, removal):
            step()
    except (RuntimeError, OSError, ValueError, KeyError, AssertionError) as error:
        check(f"{type(error).__name__}: {error}", False)
    if failures:
        for service in SERVICES:
            print(run(f"journalctl --no-pager -o short-monotonic -n 25 -u {service}", may_fail=True), flush=True)
    print("TRIAL FAILED" if failures else "TRIAL PASSED", flush=True)
    os.sync()
    subprocess.run(["systemctl", "poweroff", "--force", "--force"], check=False)


if __name__ == "__main__":
    main()
