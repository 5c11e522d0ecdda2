"""SIGHUP: what can change does, what cannot is named, and a wrong file changes nothing."""

from pathlib import Path

import pytest

from common.errors import DataPlaneError
from common.reload import Reloading, differences
from lmad.config import LmadConfig, load_config
from magd.config import load_config as load_magd

FILE = """
[lma]
address = "2001:db8:0:ff::1"
prefix_pools = ["2001:db8:1000::/36"]

[[mag]]
address = "2001:db8:0:1::1"
"""
RELOADABLE = frozenset({"lma.max_lifetime", "mag", "mobile_node"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lmad.toml"
    path.write_text(FILE)
    return path


def test_what_can_change_does_and_what_cannot_is_named(path: Path) -> None:
    applied: list[LmadConfig] = []
    reloading = Reloading(path, load_config(path), RELOADABLE, applied.append)
    assert reloading.show() == {"file": str(path), "last_reload": "never", "needs_restart": []}
    path.write_text(
        FILE.replace("[lma]", '[lma]\nmax_lifetime = 400\nscheme = "context-reflector"')
        + '[[mobile_node]]\nmn_id = "mn1@example.net"\n'
    )
    note = reloading.reload()
    assert (note.event, note.detail) == (
        "reloaded",
        "changed lma.max_lifetime, mobile_node; needs a restart: lma.scheme",
    )
    [config] = applied
    assert config is reloading.config
    assert (config.lma.max_lifetime, config.lma.scheme) == (400, "pmipv6")
    assert config.mobile_node[0].mn_id == "mn1@example.net"
    assert reloading.show()["needs_restart"] == ["lma.scheme"]
    path.write_text(FILE)
    assert reloading.reload().detail == "changed lma.max_lifetime, mobile_node"
    assert reloading.show()["needs_restart"] == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[lma", "not TOML"),
        (FILE.replace("[lma]", "[lma]\nmax_lifetime = 401"), "`lma.max_lifetime`"),
    ],
)
def test_a_wrong_file_changes_nothing(path: Path, text: str, why: str) -> None:
    before = load_config(path)
    reloading = Reloading(path, before, RELOADABLE, lambda _config: pytest.fail("applied"))
    path.write_text(text)
    note = reloading.reload()
    assert note.event == "reload-refused"
    assert why in note.detail
    assert reloading.config is before
    assert str(reloading.show()["last_reload"]).startswith("refused: ")


def test_what_the_kernel_refuses_changes_nothing(path: Path) -> None:
    def refuse(_config: LmadConfig) -> None:
        raise DataPlaneError("no tunnel")

    reloading = Reloading(path, before := load_config(path), RELOADABLE, refuse)
    path.write_text(FILE + '[[mag]]\naddress = "2001:db8:0:2::1"\n')
    assert reloading.reload().detail == "no tunnel"
    assert reloading.config is before
    assert list(differences(before, load_config(path))) == ["mag"]


def test_what_does_not_go_with_what_stays_waits_for_a_restart(path: Path) -> None:
    text = '[mag]\naddress = "2001:db8::1"\nlma = "2001:db8::2"\naccess_interfaces = ["eth1"]\n'
    path.write_text(text)
    reloading = Reloading(path, load_magd(path), frozenset({"mobile_node"}), lambda _config: pytest.fail("applied"))
    path.write_text(text.replace("eth1", "eth2") + '[[mobile_node]]\nmn_id = "a"\ninterface = "eth2"\n')
    load_magd(path)  # as a whole it is right
    note = reloading.reload()
    assert note.event == "reload-refused"
    assert note.detail == ("not without a restart: mobile node's interface eth2 is not among mag.access_interfaces")
