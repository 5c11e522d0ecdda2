"""Daemons that cannot start: one clear line, the right status, and nothing touched."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.lab.node import Node
from tests.netns.system import SystemLab, differences, traces

pytestmark = pytest.mark.netns

FORWARDING = Path("/proc/sys/net/ipv6/conf/all/forwarding")


def in_node(node: Node, lab: SystemLab, main: Callable[[], None]) -> tuple[int, str]:
    """Exit status and all that a daemon says when it ends by itself."""
    log = lab.directory / "tried.log"
    log.unlink(missing_ok=True)
    process = node.fork("tried", main, log)
    assert process.wait(30.0)
    assert process.returncode is not None
    return process.returncode, log.read_text().strip()


def run_daemon(node: str, path: Path) -> Callable[[], None]:
    from lmad.__main__ import main as lmad  # noqa: PLC0415
    from magd.__main__ import main as magd  # noqa: PLC0415

    main = lmad if node == "lma" else magd
    return lambda: main(["--config", str(path)], prog_name="daemon")


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    with SystemLab(traced=True) as up:
        up.settle("mn", "mag1")
        yield up


@pytest.mark.parametrize("node", ["lma", "mag1"])
def test_a_second_daemon_is_told_so_and_the_first_serves_on(lab: SystemLab, node: str) -> None:
    """Of one node and role there is one, whatever its socket is called: they would remove each other's routes."""
    path = lab.directory / f"{node}.toml"
    other = lab.directory / "other.toml"
    other.write_text(path.read_text().replace(f"{node}.sock", "other.sock"))
    before = traces(lab.nodes[node])
    for file in (path, other):
        status, said = in_node(lab.nodes[node], lab, run_daemon(node, file))
        assert (status, len(said.splitlines())) == (1, 1), said
        assert "is running in this network namespace already" in said
    assert differences(before, traces(lab.nodes[node])) == {}
    assert lab.show(node, "counters")
    lab.wait_for_service("mn")


@pytest.mark.parametrize(
    ("node", "wrongs"),
    [
        (
            "lma",
            [
                ("2001:db8:0:ff::1", "2001:db8:0:ff::99", "2001:db8:0:ff::99 is not on any interface of this node"),
                ('"pmipv6"', '"pmipv7"', "scheme"),
                ("prefix_pools", "prefix_pool", "prefix_pool"),
            ],
        ),
        (
            "mag1",
            [
                ("2001:db8:0:1::1", "2001:db8:0:9::1", "2001:db8:0:9::1 is not on any interface of this node"),
                ("[mag]", "[mag", "not TOML"),
                ('interface = "acc-mn"', 'interface = "acc-mm"', "acc-mm is not among mag.access_interfaces"),
            ],
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_touched(node: str, wrongs: list[tuple[str, str, str]]) -> None:
    with SystemLab(traced=True) as lab:
        path = lab.directory / f"{node}.toml"
        text = path.read_text()
        lab.end(node)
        for old, new, complaint in wrongs:
            assert old in text
            path.write_text(text.replace(old, new))
            status, said = in_node(lab.nodes[node], lab, run_daemon(node, path))
            assert (status, len(said.splitlines())) == (2, 1), said
            assert complaint in said
        path.write_text(text)
        with lab.nodes[node].inside():
            FORWARDING.write_text("0")
        status, said = in_node(lab.nodes[node], lab, run_daemon(node, path))
        assert (status, len(said.splitlines())) == (1, 1), said
        assert "sysctl -w net.ipv6.conf.all.forwarding=1" in said
        with lab.nodes[node].inside():
            FORWARDING.write_text("1")
        assert differences(lab.before[node], traces(lab.nodes[node])) == {}
        lab.start(node)


def test_an_access_interface_that_is_not_there_is_named(lab: SystemLab) -> None:
    path = lab.directory / "elsewhere.toml"
    path.write_text((lab.directory / "mag2.toml").read_text().replace("acc-mn", "acc-mm"))
    lab.end("mag2")
    status, said = in_node(lab.nodes["mag2"], lab, run_daemon("mag2", path))
    assert (status, said) == (1, "magd: access interface acc-mm does not exist")
    assert differences(lab.before["mag2"], traces(lab.nodes["mag2"])) == {}
    lab.start("mag2")


def test_without_permission_it_is_one_line_that_says_what_is_needed(lab: SystemLab) -> None:
    lab.directory.chmod(0o711)
    for node in ("lma", "mag1"):
        (lab.directory / f"{node}.toml").chmod(0o644)

        def unprivileged(node: str = node) -> None:
            os.setgroups([])
            os.setuid(65534)
            run_daemon(node, lab.directory / f"{node}.toml")()

        status, said = in_node(lab.nodes["cn"], lab, unprivileged)
        assert (status, len(said.splitlines())) == (1, 1), said
        assert "CAP_NET_ADMIN and CAP_NET_RAW" in said
