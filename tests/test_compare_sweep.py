"""Which runs a comparison consists of, and that what was measured stays as long as it is worth something."""

from pathlib import Path
from typing import Any

import pytest

from common.schemes import SCHEMES
from testbed.compare import results as results_module
from testbed.compare.document import Point, Sweep
from testbed.compare.results import Results
from testbed.compare.sweep import plan
from testbed.run.scenario import Scenario
from tests.made_handover import made_run

SWEEP = Sweep(
    base=Point(),
    schemes=list(SCHEMES),
    modes=["reactive", "predictive"],
    rtt_ms=[1, 10, 50],
    l2_ms=[50, 200],
    rate_pps=[200],
    context_bytes=[0, 64],
    base_count=20,
    count=3,
)


def test_one_parameter_is_varied_at_a_time() -> None:
    runs, _ = plan(SWEEP)
    assert len({run.key for run in runs}) == len(runs)
    for run in runs:
        differences = [
            name for name in ("mode", "rtt_ms", "l2_ms", "rate_pps", "context_bytes")
            if getattr(run.point, name) != getattr(SWEEP.base, name)
        ]  # fmt: skip
        assert len(differences) <= 1
        assert run.base == (differences in ([], ["mode"]))
        assert run.handovers == (20 if run.base else 3)


def test_every_scheme_is_run_wherever_that_makes_sense_and_the_rest_is_said() -> None:
    runs, skipped = plan(SWEEP)
    points = 1 + 1 + 2 + 1 + 1  # base, mode, RTT, L2, context
    assert len(runs) + len(skipped) == points * len(SCHEMES)
    assert ("pmipv6", "predictive") in {(one.scheme, one.mode) for one in skipped}
    assert {one.scheme for one in skipped if one.context_bytes == 0} == {
        name for name, scheme in SCHEMES.items() if not scheme.contexts
    }
    for run in runs:
        assert Scenario.of(run.scenario(SWEEP)).lab_spec()


@pytest.fixture
def run_and_results(tmp_path: Path) -> tuple[Any, Results]:
    return plan(SWEEP)[0][0], Results(tmp_path, SWEEP, "this code")


def test_a_run_broken_off_is_no_result_and_is_made_again(
    run_and_results: tuple[Any, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = run_and_results
    assert kept.load(run) is None
    _leave_a_run_in(kept.prepare(run))
    assert kept.load(run) is None  # its captures are there, its result is not
    with monkeypatch.context() as broken:
        broken.setattr(results_module, "write_packets", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept.store(run, {"handovers": []})
    assert kept.load(run) is None
    _leave_a_run_in(kept.prepare(run))
    stored = kept.store(run, {"handovers": [1]})
    assert kept.load(run) == stored
    assert (kept.directory(run) / "packets.csv").exists()


def test_a_result_counts_for_its_scenario_and_its_code(run_and_results: tuple[Any, Results], tmp_path: Path) -> None:
    run, kept = run_and_results
    _leave_a_run_in(kept.prepare(run))
    kept.store(run, {"handovers": []})
    assert Results(tmp_path, SWEEP, "this code").load(run)
    assert Results(tmp_path, SWEEP, "other code").load(run) is None
    assert Results(tmp_path, SWEEP, "this code").load(run._replace(handovers=21)) is None


def _leave_a_run_in(directory: Path) -> None:
    made_run().write(directory)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
