"""Which runs make up a comparison: every scheme at a base point, and one parameter varied at a time around it.

The full product would be hundreds of runs, most of which say nothing new: what the paper varies, it varies alone.
A scheme that cannot do what a point asks for (nothing is announced under plain PMIPv6, no contexts travel in some) is
not run there, and the comparison says so.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from common.schemes import SCHEMES
from testbed.compare.document import Point, Skipped, Sweep

MODES = ("reactive", "predictive")
_NOT_TOLD = "nothing is done before the mobile node has left: there is no predictive mode"
_NO_CONTEXTS = "no context travels: its size makes no difference"


class Planned(NamedTuple):
    """A run to be made: that many handovers under a scheme at a point."""

    scheme: str
    point: Point
    base: bool
    handovers: int

    @property
    def key(self) -> str:
        point = self.point
        return (
            f"{self.scheme}-{point.mode}-rtt{point.rtt_ms:g}-l2-{point.l2_ms:g}"
            f"-rate{point.rate_pps:g}-ctx{point.context_bytes}"
        )

    def scenario(self, sweep: Sweep) -> dict[str, object]:
        """The fields of `testbed.run.scenario.Scenario`."""
        point = self.point
        return {
            "scheme": self.scheme,
            "mode": point.mode,
            "count": self.handovers,
            "rtt_ms": point.rtt_ms,
            "l2_ms": point.l2_ms,
            "rate_pps": point.rate_pps,
            "context_octets": point.context_bytes,
            "packet_size": sweep.packet_size,
            "mags": sweep.mags,
            "mns": sweep.mns,
            "seed": sweep.seed,
        }


def points(sweep: Sweep) -> Iterator[tuple[Point, bool]]:
    """Every point once, and whether it is the base point (which every mode has)."""
    seen = set()
    for mode in sweep.modes:
        seen.add(point := msgspec.structs.replace(sweep.base, mode=mode))
        yield point, True
    for name in ("rtt_ms", "l2_ms", "rate_pps", "context_bytes"):
        for value in getattr(sweep, name):
            point = msgspec.structs.replace(sweep.base, **{name: value})
            if point not in seen:
                seen.add(point)
                yield point, False


def plan(sweep: Sweep) -> tuple[list[Planned], list[Skipped]]:
    """The runs, point by point so that schemes can be compared early, and what makes no sense."""
    runs, skipped = [], []
    for point, base in points(sweep):
        for scheme in sweep.schemes:
            if reason := _pointless(scheme, point, sweep.base):
                skipped.append(Skipped(scheme=scheme, reason=reason, **msgspec.structs.asdict(point)))
            else:
                runs.append(Planned(scheme, point, base, sweep.base_count if base else sweep.count))
    return runs, skipped


def _pointless(scheme: str, point: Point, base: Point) -> str | None:
    if point.mode == "predictive" and not SCHEMES[scheme].predictive:
        return _NOT_TOLD
    if point.context_bytes != base.context_bytes and not SCHEMES[scheme].contexts:
        return _NO_CONTEXTS
    return None
