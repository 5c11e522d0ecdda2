"""What has been measured stays: a directory for each run, whole or not there, known by what it was made from and with.

`runs/KEY/result.json` is written last and at once, so a run that was broken off leaves none and is made again.
A result counts as long as neither the scenario nor the code that made it has changed.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from testbed.compare.document import Observed, Run, Sweep
from testbed.compare.observed import observed_of, write_packets
from testbed.compare.sweep import Planned

REPOSITORY = Path(__file__).parents[2]
_CODE = ("common", "lmad", "magd", "testbed")
# How results are put together and shown can change without their being measured again.
_NOT_MEASURING = ("testbed/report/", "testbed/watch/")
_RESULT = "result.json"


class _Result(msgspec.Struct, frozen=True):
    identity: str
    handover: dict[str, Any]
    observed: Observed


def code_version() -> str:
    """A digest of everything that a run's figures depend on."""
    digest = hashlib.sha256()
    for package in _CODE:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = str(path.relative_to(REPOSITORY))
            if not name.startswith(_NOT_MEASURING):
                digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Results:
    """The runs of one comparison in `directory`, made with this code on that backend."""

    def __init__(self, directory: Path, sweep: Sweep, made_with: str) -> None:
        self._directory = directory
        self._sweep = sweep
        self._made_with = made_with

    def directory(self, run: Planned) -> Path:
        return self._directory / "runs" / run.key

    def captures(self, run: Planned) -> Path:
        return self.directory(run) / "run"

    def load(self, run: Planned) -> Run | None:
        """The run if it has been made, just so, before."""
        try:
            result = msgspec.json.decode((self.directory(run) / _RESULT).read_bytes(), type=_Result)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return self._as_run(run, result) if result.identity == self._identity(run) else None

    def prepare(self, run: Planned) -> Path:
        """An empty directory for its captures; what was there before is no result any more."""
        shutil.rmtree(self.directory(run), ignore_errors=True)
        self.captures(run).mkdir(parents=True)
        return self.captures(run)

    def store(self, run: Planned, handover: dict[str, Any]) -> Run:
        """Look at what the run left in its directory, and keep it all."""
        observed = observed_of(self.captures(run))
        write_packets(self.captures(run), self.directory(run) / "packets.csv")
        result = _Result(self._identity(run), handover, observed)
        file = self.directory(run) / _RESULT
        partial = file.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(result))
        partial.replace(file)
        return self._as_run(run, result)

    def scenario(self, run: Planned) -> dict[str, object]:
        """The fields of `testbed.run.scenario.Scenario`."""
        return run.scenario(self._sweep)

    def _identity(self, run: Planned) -> str:
        return json.dumps([self.scenario(run), self._made_with], sort_keys=True)

    def _as_run(self, run: Planned, result: _Result) -> Run:
        return Run(
            key=run.key,
            base=run.base,
            scheme=run.scheme,
            **msgspec.structs.asdict(run.point),
            handover=result.handover,
            observed=result.observed,
            packets=f"runs/{run.key}/packets.csv",
            captures=f"runs/{run.key}/run",
        )
