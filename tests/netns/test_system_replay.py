"""Journals with inputs, as daemons on real kernels write them: each daemon's program answers all of it alike."""

import json
from signal import SIGHUP

import pytest
from click.testing import CliRunner

from common.schemes import SCHEMES
from lmad.__main__ import main as lmad
from magd.__main__ import main as magd
from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, eventually

pytestmark = pytest.mark.netns

WITH_INPUTS = ("journal =", "journal_inputs = true\njournal =")
PROGRAMS = {"lma": lmad, "mag1": magd, "mag2": magd}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_handovers_over_two_lives_and_a_reload_are_replayed(scheme: str) -> None:
    edits = {node: [WITH_INPUTS] for node in PROGRAMS}
    with SystemLab(LabSpec(scheme=scheme), edits, persistent=True) as lab:
        lab.settle("mn", "mag1")
        for node in PROGRAMS:
            lab.end(node)
            lab.start(node)
        lab.settle("mn", "mag2")
        for node in PROGRAMS:
            lab.daemons[node].signal(SIGHUP)
            eventually(lambda node=node: lab.counters(node)["reloaded"] == 1, f"{node} does not reload")  # type: ignore[misc]
        lab.settle("mn", "mag1")
        for node, program in PROGRAMS.items():
            lab.end(node)
            path = lab.records / "journals" / f"{node}.jsonl"
            entries = [json.loads(line) for line in path.read_text().splitlines()]
            lives = [entry for entry in entries if entry["event"] == "life"]
            calls = [entry["call"] for entry in entries if entry["event"] == "input"]
            assert [bool(life["stored"]) for life in lives] == [False, True]
            assert {"started", "receive", "follow"} <= set(calls)
            done = CliRunner().invoke(program, ["--replay", str(path)])
            assert (done.exit_code, done.output) == (0, f"{len(calls)} inputs answered alike\n"), done.exception
