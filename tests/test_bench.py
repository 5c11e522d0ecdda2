"""What `testbed bench` measures is what it says, and what it says has the format that others read."""

import gc
from pathlib import Path

import pytest

from lmad.binding_cache import State
from lmad.config import load_config
from testbed.bench import daemon as bench_socket
from testbed.bench import figures as bench
from testbed.bench.core import MAGS, SCRIPTS, Movers, anchor, garbage_as_in_the_daemons
from testbed.bench.row import Row

BINDINGS = 5


@pytest.mark.parametrize("scheme", SCRIPTS)
def test_all_movers_end_at_the_other_mag_and_nothing_is_left_open(scheme: str) -> None:
    lma = anchor(scheme, BINDINGS)
    movers = Movers(lma, scheme, BINDINGS)
    for mag in (MAGS[1], MAGS[0], MAGS[1]):
        assert movers.hand_over() > 0
        assert [(bce.proxy_coa, bce.state, bce.handover) for bce in lma.binding_cache] == [
            (mag, State.REGISTERED, None)
        ] * BINDINGS
    assert not len(lma.scheme.revocations)


def test_garbage_collection_is_the_interpreters_again_afterwards() -> None:
    with garbage_as_in_the_daemons():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert not gc.get_freeze_count()


def test_the_json_is_what_the_document_says() -> None:
    rows = [Row("release-rate", 2e5, "packets/s", 1e5), Row("memory", 1000.0, "octets", None, False)]
    assert bench.as_json(rows) == {
        "schema": 1,
        "benchmarks": [
            {
                "name": "release-rate",
                "value": 2e5,
                "unit": "packets/s",
                "goal": 1e5,
                "higher_is_better": True,
                "note": "",
            },
            {
                "name": "memory",
                "value": 1000.0,
                "unit": "octets",
                "goal": None,
                "higher_is_better": False,
                "note": "",
            },
        ],
    }


@pytest.mark.parametrize(
    ("value", "higher_is_better", "verdict"),
    [(1.0, True, "reached"), (0.99, True, "missed"), (1.0, False, "reached"), (1.01, False, "missed")],
)
def test_the_table_says_whether_a_goal_is_reached(value: float, higher_is_better: bool, verdict: str) -> None:
    assert f"  {verdict}" in bench.render([Row("ratio", value, "", 1.0, higher_is_better)])


@pytest.mark.parametrize("scheme", SCRIPTS)
def test_lmad_takes_the_configuration_that_it_is_measured_with(scheme: str, tmp_path: Path) -> None:
    file = tmp_path / "lmad.toml"
    file.write_text(bench_socket.configuration(scheme, tmp_path))
    config = load_config(file)
    assert config.lma.scheme == scheme
    assert [mag.address for mag in config.mag] == list(MAGS)
    assert len(config.mobile_node) == bench_socket.MNS


def test_the_document_names_every_benchmark() -> None:
    document = (Path(__file__).parents[1] / "docs/bench.md").read_text()
    assert [name for name in bench.BENCHMARKS if f"| `{name}` |" not in document] == []
