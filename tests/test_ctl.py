"""lmactl and magctl as an operator types them: what they ask for, what they print, how they end."""

import socket
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import lmad.ctl
import magd.ctl
from common.control import CommandError

Asked = list[tuple[str, dict[str, object]]]
MAG = "2001:db8:0:1::1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What a daemon was asked, which has carried it out."""
    said: Asked = []

    def ask(_path: Path, command: str, **arguments: object) -> object:
        said.append((command, arguments))
        return {"sessions": 2}

    for module in (lmad.ctl, magd.ctl):
        monkeypatch.setattr(module, "ask", ask)
    return said


def run(program: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(program, arguments, prog_name="ctl")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["mn1@example.net"], {"mn_id": "mn1@example.net", "mag": None, "realm": None}),
        (["--mag", "2001:db8:0:1:0::1"], {"mn_id": None, "mag": MAG, "realm": None}),
        (["--mag", MAG, "--realm", "example.net"], {"mn_id": None, "mag": MAG, "realm": "example.net"}),
    ],
)
def test_revoke_says_what_to_end(asked: Asked, arguments: list[str], wanted: dict[str, object]) -> None:
    done = run(lmad.ctl.main, "revoke", *arguments)
    assert (done.exit_code, done.output.split()) == (0, ["name", "value", "sessions", "2"])
    assert asked == [("revoke", wanted)]
    assert run(lmad.ctl.main, "revoke", *arguments, "--json").output == '{\n  "sessions": 2\n}\n'


@pytest.mark.parametrize(
    "arguments", [[], ["mn1", "--mag", MAG], ["mn1", "--realm", "net"], ["--realm", "net"], ["--mag", "nowhere"]]
)
def test_revoke_of_nothing_or_of_two_things_is_bad_usage(asked: Asked, arguments: list[str]) -> None:
    assert run(lmad.ctl.main, "revoke", *arguments).exit_code == 2
    assert asked == []


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["attach", "mn1"], {"mn_id": "mn1", "interface": None, "previous_mag": None}),
        (
            ["attach", "mn1", "eth1", "--previous-mag", MAG],
            {"mn_id": "mn1", "interface": "eth1", "previous_mag": MAG},
        ),
        (["expect", "mn1", MAG], {"mn_id": "mn1", "previous_mag": MAG}),
        (["detach", "mn1"], {"mn_id": "mn1"}),
        (["handover", "mn1"], {"mn_id": "mn1", "nmag": None}),
        (["handover", "mn1", MAG], {"mn_id": "mn1", "nmag": MAG}),
    ],
)
def test_a_gateway_is_told_what_a_link_layer_knows(
    asked: Asked, arguments: list[str], wanted: dict[str, object]
) -> None:
    done = run(magd.ctl.main, *arguments)
    assert (done.exit_code, done.output) == (0, "")
    assert asked == [(arguments[0], wanted)]


@pytest.mark.parametrize("arguments", [["attach", "mn1", "--previous-mag"], ["expect", "mn1"], ["handover", "mn1"]])
def test_what_is_no_address_is_bad_usage(asked: Asked, arguments: list[str]) -> None:
    assert run(magd.ctl.main, *arguments, "mag2").exit_code == 2
    assert not asked


@pytest.mark.parametrize("program", [lmad.ctl, magd.ctl])
def test_a_refusal_is_one_line(program: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _command: str, **_arguments: object) -> object:
        raise CommandError("mn9 has no session")

    monkeypatch.setattr(program, "ask", refuse)
    done = run(program.main, "revoke" if program is lmad.ctl else "detach", "mn9")  # type: ignore[attr-defined]
    assert (done.exit_code, done.output.splitlines()) == (
        1,
        [f"{'lmactl' if program is lmad.ctl else 'magctl'}: mn9 has no session"],
    )


@pytest.mark.parametrize(("program", "daemon"), [(lmad.ctl.main, "lmad"), (magd.ctl.main, "magd")])
@pytest.mark.parametrize("command", [("show", "counters"), ("trace", "mn1")])
def test_a_daemon_that_does_not_run_is_one_line(
    tmp_path: Path, program: click.Command, daemon: str, command: tuple[str, ...]
) -> None:
    path = tmp_path / "control.sock"
    left = [run(program, "--socket", str(path), *command)]
    with socket.socket(socket.AF_UNIX) as dead:  # as a daemon leaves it that was killed
        dead.bind(str(path))
    left.append(run(program, "--socket", str(path), *command))
    for done in left:
        assert done.exit_code == 1
        [line] = done.output.splitlines()
        assert str(path) in line


def test_a_table_has_every_column_that_a_row_has(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"mn_id": "mn1", "hnps": ["a", "b"]}, {"mn_id": "mn2", "hnps": [], "handover": "asked"}]
    monkeypatch.setattr("common.command_line.ask", lambda *_, **__: rows)
    lines = run(magd.ctl.main, "show", "mobile-nodes").output.splitlines()
    assert [line.split() for line in lines] == [["mn_id", "hnps", "handover"], ["mn1", "a", "b", "-"], ["mn2", "asked"]]
