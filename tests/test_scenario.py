"""Where MNs go in a run, and which runs are refused before anything is built."""

from itertools import islice, pairwise
from typing import Any

import pytest
from click.testing import CliRunner

from testbed.__main__ import main
from testbed.lab.node import LabError
from testbed.run.scenario import Scenario


def _places(count: int, **spec: object) -> list[dict[str, str]]:
    return list(islice(Scenario.of(spec).places(), count + 1))


def test_with_two_mags_mns_go_back_and_forth() -> None:
    assert [place["mn"] for place in _places(3)] == ["mag1", "mag2", "mag1", "mag2"]


def test_a_path_is_repeated_and_may_close_upon_itself() -> None:
    for path in (["mag1", "mag3", "mag2"], ["mag1", "mag3", "mag2", "mag1"]):
        places = _places(4, mags=3, path=path)
        assert [place["mn"] for place in places] == ["mag1", "mag3", "mag2", "mag1", "mag3"]


def test_a_seed_decides_where_all_mns_go_and_every_step_leads_elsewhere() -> None:
    places = _places(50, mags=4, mns=3, seed=7)
    assert places == _places(50, mags=4, mns=3, seed=7)
    assert places != _places(50, mags=4, mns=3, seed=8)
    for here, there in pairwise(places):
        assert set(here) == {"mn1", "mn2", "mn3"}
        assert all(here[mn] != there[mn] for mn in here)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"mags": 1}, "two MAGs"),
        ({"path": ["mag1", "mag3"]}, "mag3"),
        ({"path": ["mag1"]}, "path"),
        ({"path": ["mag1", "mag1"]}, "path"),
    ],
)
def test_an_impossible_run_is_refused(spec: dict[str, object], reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        Scenario.of(spec)


@pytest.mark.parametrize("options", ["--path mag1,mag9", "--mode predictive", "--impair loss=much", "--fixed 2"])
def test_an_impossible_run_is_bad_usage(options: str) -> None:
    """And nothing is started."""
    done = CliRunner().invoke(main, ["handover", "--scheme", "pmipv6", *options.split()])
    assert done.exit_code == 2
    [line] = done.output.splitlines()
    assert line.startswith("testbed: ")


def test_an_impossible_impairment_is_refused() -> None:
    with pytest.raises(LabError, match="impairment"):
        Scenario.of({"impair": "loss=much"}).lab_spec()


@pytest.mark.parametrize(
    ("options", "packets"),
    [({}, 1024), ({"rate_pps": 2000, "rtt_ms": 200, "l2_ms": 500}, 3600), ({"rate_pps": 1e6, "l2_ms": 500}, 65535)],
)
def test_what_is_sent_while_nobody_listens_has_room(options: dict[str, Any], packets: int) -> None:
    assert Scenario.of(options).lab_spec().hold_packets == packets
