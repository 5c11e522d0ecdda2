"""`testbed matrix`: what it asks for, what it says, and that nothing is measured twice."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from testbed import matrix
from testbed.lab.node import LabError
from testbed.measurement.measure import measure
from tests.made_handover import made_run

LOST = 2 * (13 + 2)


class Backend:
    """Plays back one measurement, in which packets are lost, whatever is asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[dict[str, Any]] = []

    def run(self, spec: dict[str, Any], _progress: object) -> dict[str, Any]:
        self.asked.append(spec)
        if spec["rtt_ms"] == 200:
            raise LabError("iperf3 sends nothing")
        return measure(self.directory)


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    played = Backend(made_run(2).write(tmp_path / "run"))

    @contextmanager
    def opened(*_: object) -> Iterator[Backend]:
        yield played

    monkeypatch.setattr(matrix, "open_backend", opened)
    return played


def called(tmp_path: Path, *options: str) -> Result:
    path = str(tmp_path / "matrix.jsonl")
    return CliRunner().invoke(matrix.matrix, ["--scheme", "pmipv6", "--json", path, *options])


ONE = ("--rtt", "10", "--l2", "50", "--rate", "200", "--downlink", "hold")


def test_a_row_for_each_combination_and_the_status_of_a_loss(tmp_path: Path, backend: Backend) -> None:
    result = called(tmp_path, *ONE)
    assert result.exit_code == 1
    rows = [line.split() for line in result.stdout.splitlines()]
    row = ["10", "50", "200", "reactive", "hold", "156", "30", "0", "0", "20", "70.00", "67.00", "1.70", "no"]
    assert row in rows
    assert (
        f"1 combinations, both ways, in handovers and outside: {LOST} lost, 0 duplicated, 0 reordered" in result.stdout
    )


def test_what_a_scheme_cannot_do_is_not_asked_for(tmp_path: Path, backend: Backend) -> None:
    called(tmp_path, "--rtt", "1,10", "--l2", "50", "--rate", "50,500")
    assert len(backend.asked) == 2 * 2 * 2  # RTT, rate, downlink: nothing is predicted under plain PMIPv6
    assert {spec["mode"] for spec in backend.asked} == {"reactive"}


def test_nothing_is_measured_twice_with_the_same_code(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = called(tmp_path, *ONE)
    assert called(tmp_path, *ONE).stdout == first.stdout
    assert len(backend.asked) == 1
    monkeypatch.setattr(matrix, "code_version", lambda: "other code")
    called(tmp_path, *ONE)
    assert len(backend.asked) == 2


def test_what_could_not_be_measured_is_said_and_tried_again(tmp_path: Path, backend: Backend) -> None:
    wide = ("--rtt", "10,200", *ONE[2:])
    result = called(tmp_path, *wide)
    assert result.exit_code == 1
    assert "rtt_ms=200 l2_ms=50 rate_pps=200 count=1: iperf3 sends nothing" in result.stderr
    assert "1 combinations" in result.stdout
    called(tmp_path, *wide)
    assert [spec["rtt_ms"] for spec in backend.asked] == [10, 200, 200]
    lines = (tmp_path / "matrix.jsonl").read_text().splitlines()
    assert [json.loads(line)["spec"]["rtt_ms"] for line in lines] == [10]


@pytest.mark.parametrize(
    ("downlink", "rtt_ms", "waited_ms"),
    [("hold", 10, 60), ("forward", 10, 50), ("forward", 200, 200)],
)
def test_what_a_handover_waits_for(downlink: str, rtt_ms: float, waited_ms: float) -> None:
    spec = {"downlink": downlink, "rtt_ms": rtt_ms, "l2_ms": 50.0}
    assert matrix._waited_ms(spec) == waited_ms
