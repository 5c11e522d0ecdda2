"""What follows from measured runs: Figure 13, the silence taken apart, Table 1 and its verdicts."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.compare import build, console
from testbed.compare.document import Document, Observed, Point, Run, Statistic, Sweep, Way
from testbed.compare.figures import decomposition_of, figure_of
from testbed.compare.observed import observed_of
from testbed.compare.table1 import rows
from testbed.measurement.measure import measure
from tests.made_handover import MOMENTS_US, made_run

SWEEP = Sweep(
    base=Point(), schemes=["pmipv6"], modes=["reactive"], rtt_ms=[10], l2_ms=[50], rate_pps=[200], context_bytes=[64]
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = made_run(2).write(tmp_path_factory.mktemp("run"))
    return Run(
        key="pmipv6-reactive",
        base=True,
        scheme="pmipv6",
        **msgspec.structs.asdict(SWEEP.base),
        handover=measure(directory),
        observed=observed_of(directory),
        packets="runs/pmipv6-reactive/packets.csv",
        captures="runs/pmipv6-reactive/run",
    )


def _mean(statistic: Statistic | None) -> float:
    assert statistic is not None
    return statistic.mean


def test_figure_13(run: Run) -> None:
    figure = figure_of(run)
    assert figure is not None
    assert (figure.figure, figure.handovers) == (13, 2)
    assert {one.letter: _mean(one.t_us) for one in figure.moments} == pytest.approx(MOMENTS_US)
    assert {one.letter: one.role for one in figure.moments if one.letter in "afhk"} == {
        "a": "pMAG", "f": "nMAG", "h": "LMA", "k": "nMAG"
    }  # fmt: skip
    processing: list[Any] = [(one.name, one.node, _mean(one.us), one.paper_us) for one in figure.processing]
    assert processing == [
        ("f-g", "nMAG", pytest.approx(300), 276.7),
        ("h-i", "LMA", pytest.approx(600), 597.8),
        ("j-k", "nMAG", pytest.approx(800), 803.1),
    ]
    assert figure.processing_in_all.paper_us == pytest.approx(1677.6)


def test_the_silence_consists_of_l2_round_trip_and_processing(run: Run) -> None:
    found = decomposition_of(run)
    parts: list[Any] = [(one.name, one.kind, _mean(one.us), one.paper_us) for one in found.parts]
    assert parts[:-1] == [
        ("L2", "radio", pytest.approx(50200), None),
        ("nMAG: attach to PBU sent", "processing", pytest.approx(300), 276.7),
        ("PBU nMAG to LMA", "travel", pytest.approx(5000), None),
        ("LMA: PBU to PBA sent", "processing", pytest.approx(600), 597.8),
        ("PBA LMA to nMAG", "travel", pytest.approx(5000), None),
        ("nMAG: PBA to forwarding", "processing", pytest.approx(800), 803.1),
    ]
    assert (parts[-1][0], parts[-1][1]) == ("nMAG: the next packet", "other")
    # The silence begins with the last packet before the detach.
    assert _mean(found.sum_us) <= _mean(found.gap_us) < _mean(found.sum_us) + 5000


def test_what_is_not_borne_out_is_said_with_its_figures(run: Run) -> None:
    reflector = _as_reflector(run, paths=[Way("downlink", ("cn", "lma", "pmag", "lma", "nmag", "mn"), 4, usual=False)])
    table = {row.key: row for row in rows([run, reflector])}
    path = table["delivery_path"]
    assert path.supported["context-reflector"] is False
    assert "2 downlink packets a handover by cn-LMA-pMAG-LMA-nMAG-mn" in path.remark
    assert "pmipv6" not in path.supported or path.supported["pmipv6"] is None  # the paper claims nothing of it
    # It lost as much as plain PMIPv6 did: nothing is optimized.
    assert table["optimizing"].supported["context-reflector"] is False
    assert table["candidate_traffic"].supported["context-reflector"] is False
    assert table["security_association"].supported["context-reflector"] is True
    assert table["downlink_lost"].measured["pmipv6"].value == table["downlink_lost"].measured["context-reflector"].value


def test_a_claim_that_holds_in_the_other_mode_only_is_said_so(run: Run) -> None:
    detour = [Way("downlink", ("cn", "lma", "pmag", "lma", "nmag", "mn"), 4, usual=False)]
    straight = [Way("downlink", ("cn", "lma", "nmag", "mn"), 4, usual=True)]
    both = [_as_reflector(run, paths=detour), _as_reflector(run, mode="predictive", paths=straight)]
    path = next(row for row in rows(both) if row.key == "delivery_path")
    assert path.supported["context-reflector"] is False
    assert "context-reflector predictive: borne out, optimal" in path.remark


def test_the_document_reads_back_and_shows(run: Run, tmp_path: Path) -> None:
    document = build.document("testbed compare", SWEEP, [run], [])
    file = tmp_path / "compare.json"
    file.write_bytes(msgspec.json.encode(document))
    assert msgspec.json.decode(file.read_bytes(), type=Document) == document
    text = console.render(document)
    assert "803.1" in text
    assert "Security association (Table 1)" in text
    assert document.figure14 is None


def test_without_runs_there_is_still_a_document() -> None:
    document = build.document("testbed compare", SWEEP, [], [])
    assert (document.table1, document.drop_period, document.figure13) == ([], [], None)
    assert console.render(document)


def _as_reflector(run: Run, mode: str = "reactive", **observed: Any) -> Run:
    seen: Observed = msgspec.structs.replace(run.observed, **observed)
    return msgspec.structs.replace(
        run, key=f"context-reflector-{mode}", scheme="context-reflector", mode=mode, observed=seen
    )
