"""What a measured run is to be: the options of `testbed handover`, and where the MNs go."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, pairwise
from math import ceil
from typing import Any, Self

from common.schemes import SCHEMES
from testbed.lab.node import LabError
from testbed.lab.topology import MAX_PREFIXES, Impairment
from testbed.lab.visit import DEFAULT_HOLD_PACKETS, LabSpec

MOST_HELD = 65535  # packets of a session, the kernel's limit


class ImpossibleRun(LabError):
    """The options ask for what there cannot be: bad usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The options of `testbed handover`. `path` is the sequence of MAGs visited, repeated as long as it takes.

    With `tcp_mbps` there is a TCP stream of that rate each way beside every UDP stream.
    """

    scheme: str = "pmipv6"
    mode: str = "reactive"
    count: int = 1
    rtt_ms: float = 10.0
    l2_ms: float = 50.0
    rate_pps: float = 200.0
    packet_size: int = 200
    mags: int = 2
    mns: int = 1
    path: tuple[str, ...] = ()
    seed: int = 0
    clock: str = "real"
    impair: str = ""
    downlink: str = "hold"
    order: str = "strict"
    context_octets: int = 64
    prefixes: int = 1
    fixed: int = 0
    tcp_mbps: float | None = None

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Self:
        """From what JSON made of one. Raises TypeError for an unknown option, ImpossibleRun for an impossible one."""
        scenario = cls(**{**spec, "path": tuple(spec.get("path") or ())})
        names = {f"mag{number}" for number in range(1, scenario.mags + 1)}
        if not 1 <= scenario.prefixes <= MAX_PREFIXES:
            raise ImpossibleRun(f"a mobile node has 1 to {MAX_PREFIXES} home network prefixes")
        if not 0 <= scenario.fixed <= scenario.mns:
            raise ImpossibleRun(f"of {scenario.mns} mobile nodes {scenario.fixed} cannot have prefixes of their own")
        if scenario.mags < 2:
            raise ImpossibleRun("a handover needs two MAGs at least")
        if scenario.scheme not in SCHEMES:
            raise ImpossibleRun(f"there is no scheme {scenario.scheme}")
        if scenario.mode == "predictive" and not SCHEMES[scenario.scheme].predictive:
            raise ImpossibleRun(f"{scenario.scheme} has no predictive mode: nothing is done before the MN has left")
        if unknown := [mag for mag in scenario.path if mag not in names]:
            raise ImpossibleRun(f"the path leads to {unknown[0]}, which is not among mag1 to mag{scenario.mags}")
        if len(scenario.path) == 1 or any(here == there for here, there in pairwise(scenario.path)):
            raise ImpossibleRun("the path must lead from one MAG to another with each step")
        return scenario

    def lab_spec(self) -> LabSpec:
        try:
            impairment = Impairment.parse(self.impair) if self.impair else None
        except ValueError as error:
            raise ImpossibleRun(str(error)) from None
        rtt_s = self.rtt_ms / 1000
        return LabSpec(
            mags=self.mags,
            mns=self.mns,
            rtt_s=rtt_s,
            scheme=self.scheme,
            impairment=impairment,
            downlink=self.downlink,
            order=self.order,
            context_octets=self.context_octets,
            prefixes=self.prefixes,
            fixed=self.fixed,
            hold_packets=self._hold_packets(),
        )

    def _hold_packets(self) -> int:
        """As an operator would set it: for twice what is sent from an announcement on until the packets are let go."""
        longest_ms = self.l2_ms + 2 * self.rtt_ms
        return min(max(DEFAULT_HOLD_PACKETS, ceil(2 * self.rate_pps * longest_ms / 1000)), MOST_HELD)

    def places(self) -> Iterator[dict[str, str]]:
        """Where every MN is: at first, and after each handover. No end."""
        mags = [f"mag{number}" for number in range(1, self.mags + 1)]
        mns = ["mn"] if self.mns == 1 else [f"mn{number}" for number in range(1, self.mns + 1)]
        if self.path:
            # A path that ends where it began goes on with its second step.
            steps = self.path[:-1] if self.path[0] == self.path[-1] else self.path
            yield from (dict.fromkeys(mns, mag) for mag in cycle(steps))
        chance = random.Random(self.seed)
        here = dict.fromkeys(mns, mags[0])
        while True:
            yield here
            here = {mn: chance.choice([mag for mag in mags if mag != here[mn]]) for mn in mns}
