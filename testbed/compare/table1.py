"""Table 1, each cell measured at the base point, and whether that bears out what the paper claims.

A claim is judged in the mode in which the paper describes the scheme; where the other mode shows something else, the
remark says so. What is counted is counted on captures; "none" means none in any handover of the run.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import lmad.handover
import magd.handover
from common.schemes import SCHEMES
from testbed.compare import claims
from testbed.compare.claims import Claim
from testbed.compare.document import Cell, Row, Run, Statistic
from testbed.measurement.observations import DIRECTIONS, DOWNLINK

_ROLES = {"lma": "LMA", "pmag": "pMAG", "nmag": "nMAG"}
_BASELINE = "pmipv6"


class Finding(NamedTuple):
    """What a run shows: for the cell, and as something to compare with the claim (None: there is no claim to judge)."""

    text: str
    value: float | None = None
    unit: str | None = None
    bears_out: bool | None = None
    remark: str = ""


_Measure = Callable[[Run], Finding]


def rows(runs: Sequence[Run]) -> list[Row]:
    """The paper's six in its order, then what its text claims, then what is only measured; none without a base run."""
    base: dict[str, dict[str, Run]] = {}
    for run in runs:
        if run.base:
            base.setdefault(run.scheme, {})[run.mode] = run
    if not base:
        return []
    baseline = base.get(_BASELINE, {}).get("reactive")
    table = [
        _row(claims.SECURITY_ASSOCIATION, base, _security_association),
        _row(claims.FLOW_MANAGEMENT, base, _flow_management),
        _row(claims.CANDIDATE_TRAFFIC, base, _candidate_traffic),
        _row(claims.DELIVERY_PATH, base, _delivery_path),
        _row(claims.OPTIMIZING, base, lambda run: _optimizing(run, baseline)),
        _row(claims.EXTENSION, base, _extension),
        _row(claims.ONLY_ONE, base, _only_one),
        *(_row(claims.LOST[way], base, partial(_lost, direction=way)) for way in DIRECTIONS),
        _row(claims.EXTRA_OCTETS, base, _extra_octets),
        _row(claims.CONTEXT_TRANSFER, base, lambda run: _context_transfer(run, runs)),
    ]
    for key, label, measure in _figures():
        table.append(_row(Claim(key, label, None, {}), base, measure))
    return table


def _row(claim: Claim, base: Mapping[str, Mapping[str, Run]], measure: _Measure) -> Row:
    measured: dict[str, Cell] = {}
    supported: dict[str, bool | None] = {}
    remarks: list[str] = []
    for scheme, by_mode in base.items():
        mode = claims.PAPER_MODES.get(scheme, "reactive")
        run = by_mode.get(mode) or next(iter(by_mode.values()))
        finding = measure(run)
        texts = {other.mode: measure(other).text for other in by_mode.values()}
        text = finding.text
        if len(set(texts.values())) > 1:
            text = "; ".join(f"{name}: {said}" for name, said in texts.items())
        measured[scheme] = Cell(text, finding.value, finding.unit, run.key)
        claimed = claim.cells.get(scheme)
        supported[scheme] = None if claimed is None else finding.bears_out
        if claimed is not None and finding.bears_out is False:
            remark = f"{scheme}: the paper says {claimed!r}, measured ({run.mode}): {finding.remark or finding.text}"
            note = claims.NOTES.get((claim.key, scheme))
            remarks.append(f"{remark} ({note})" if note else remark)
            others = [other for other in by_mode.values() if other is not run and measure(other).bears_out]
            remarks += [f"{scheme} {other.mode}: borne out, {texts[other.mode]}" for other in others]
    return Row(claim.key, claim.row, claim.source, claim.cells, measured, supported, ". ".join(remarks))


def _named(roles: Sequence[str]) -> str:
    order = list(_ROLES)
    names = [
        _ROLES.get(role, role) for role in sorted(roles, key=lambda role: order.index(role) if role in order else 9)
    ]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "nobody"


def _security_association(run: Run) -> Finding:
    pairs = {association.nodes: association.messages for association in run.observed.associations}
    text = ", ".join(f"{_ROLES.get(a, a)}-{_ROLES.get(b, b)} ({count / _handovers(run):g} messages)"
                     for (a, b), count in pairs.items())  # fmt: skip
    between_mags = any("lma" not in pair for pair in pairs)
    claimed = claims.SECURITY_ASSOCIATION.cells.get(run.scheme, "")
    return Finding(text, len(pairs), "associations", between_mags == (claimed == "pMAG-nMAG"))


def _flow_management(run: Run) -> Finding:
    observed, per = run.observed, _handovers(run)
    parts = [f"{_role(one.node)} holds {one.packets / per:g} {one.direction}" for one in observed.held]
    parts += [f"{_role(one.node)} redirects {one.packets / per:g} {one.direction}" for one in observed.redirected]
    who = {one.node for one in observed.held} | {one.node for one in observed.redirected}
    claimed = {role for role, name in _ROLES.items() if name in claims.FLOW_MANAGEMENT.cells.get(run.scheme, "")}
    text = f"{_named(list(who))}" + (f" ({', '.join(parts)}; packets a handover)" if parts else "")
    return Finding(text, bears_out=who == claimed)


def _candidate_traffic(run: Run) -> Finding:
    saved = [direction for direction in ("uplink", "downlink") if not _sum(run, direction, "lost")]
    text = " and ".join(saved) or "none"
    counts = ", ".join(f"{_mean(run, direction, 'lost'):g} {direction}" for direction in ("uplink", "downlink"))
    claimed = claims.CANDIDATE_TRAFFIC.cells.get(run.scheme)
    return Finding(text, bears_out=text == claimed, remark=f"{text} saved; lost a handover: {counts}")


def _delivery_path(run: Run) -> Finding:
    ways = run.observed.paths
    redundant = [way for way in ways if not way.usual]
    optimal = not redundant
    text = "optimal" if optimal else "redundant: " + ", ".join(
        f"{way.packets / _handovers(run):g} {way.direction} packets a handover by {'-'.join(map(_role, way.path))}"
        for way in redundant
    )  # fmt: skip
    claimed = claims.DELIVERY_PATH.cells.get(run.scheme)
    total = sum(way.packets for way in ways) / _handovers(run)
    return Finding(
        text,
        bears_out=(claimed == "optimal") == optimal,
        remark=f"{text}, of {total:g} packets delivered in a handover",
    )


def _optimizing(run: Run, baseline: Run | None) -> Finding:
    lost, gap_ms = _lost_in_all(run), _mean(run, DOWNLINK, "gap_ms")
    text = f"{lost:g} packets lost, silence {gap_ms:.2f} ms"
    if baseline is None or run is baseline:
        return Finding(text)
    lost_before, gap_before_ms = _lost_in_all(baseline), _mean(baseline, DOWNLINK, "gap_ms")
    compared = f"packets lost {lost_before:g} to {lost:g}, silence {gap_before_ms:.2f} to {gap_ms:.2f} ms"
    return Finding(compared, bears_out=lost < lost_before and gap_ms < gap_before_ms)


def _extension(run: Run) -> Finding:
    schemes = (("LMA", lmad.handover.SCHEMES), ("pMAG and nMAG", magd.handover.SCHEMES))
    lines = {}
    for who, registry in schemes:
        scheme = registry[run.scheme]
        if run.scheme != _BASELINE and scheme is not registry[_BASELINE]:
            lines[who] = _lines_of(scheme, registry[_BASELINE])
    names = ", ".join(lines)
    text = f"{names} ({', '.join(f'{count} lines' for count in lines.values())})" if lines else "none"
    claimed = claims.EXTENSION.cells.get(run.scheme)
    return Finding(text, sum(lines.values()), "lines of Python", names == claimed)


def _lines_of(scheme: type, baseline: type) -> int:
    """Of the scheme's module, and of whatever of the same directory it uses, the baseline excepted."""
    directory = scheme.__module__[: scheme.__module__.index(".handover.") + len(".handover.")]
    modules, found = {scheme.__module__}, {baseline.__module__}
    lines = 0
    while modules := {name for name in modules if name.startswith(directory)} - found:
        found |= modules
        for module in [sys.modules[name] for name in modules]:
            lines += len(Path(str(module.__file__)).read_text().splitlines())
            modules |= {str(getattr(used, "__module__", "")) for used in vars(module).values()}
    return lines


def _only_one(run: Run) -> Finding:
    lost = _lost_in_all(run)
    optimal = all(way.usual for way in run.observed.paths)
    yes = not lost and optimal
    text = "yes" if yes else f"no: {lost:g} packets lost a handover, path {'optimal' if optimal else 'redundant'}"
    claimed = claims.ONLY_ONE.cells.get(run.scheme, "")
    return Finding(text, bears_out=yes == claimed.startswith("yes"))


def _lost(run: Run, direction: str) -> Finding:
    lost = _mean(run, direction, "lost")
    claimed = claims.LOST[direction].cells.get(run.scheme)
    return Finding(f"{lost:g}", lost, "packets a handover", (claimed == "none") == (lost == 0))


def _extra_octets(run: Run) -> Finding:
    extra = {way: run.observed.extra[way].core_octets for way in DIRECTIONS}
    largest = {way: one.max for way, one in extra.items() if one}
    text = ", ".join(f"{way} {one.mean:.0f} (up to {one.max:.0f})" for way, one in extra.items() if one) or "-"
    return Finding(text, max(largest.values(), default=None), "octets", any(one > 0 for one in largest.values()))


def _context_transfer(run: Run, runs: Sequence[Run]) -> Finding:
    """By what signalling grows when the context does."""
    sizes = {
        one.context_bytes: one.observed.octets.mean
        for one in runs
        if (one.scheme, one.mode, one.rtt_ms, one.l2_ms, one.rate_pps)
        == (run.scheme, run.mode, run.rtt_ms, run.l2_ms, run.rate_pps)
        and one.observed.octets
    }
    if not SCHEMES[run.scheme].contexts:
        return Finding("not measured: it takes no feature's context")
    claimed = claims.CONTEXT_TRANSFER.cells.get(run.scheme, "")
    noted = run.observed.contexts_stored
    grows = len(sizes) > 1 and max(sizes) > 0 and sizes[max(sizes)] - sizes[min(sizes)] >= max(sizes) - min(sizes)
    carried = noted > 0 or grows
    text = "no context reaches the nMAG"
    if carried:
        octets = "; ".join(f"{size} octets of context: {sizes[size]:.0f} octets signalled" for size in sorted(sizes))
        text = f"context stored at the nMAG in {noted} of {_handovers(run)} handovers; {octets}"
    return Finding(text, bears_out=carried == claimed.startswith("yes"))


def _figures() -> list[tuple[str, str, _Measure]]:
    """Rows that no claim goes with."""
    per = "packets a handover"
    table: list[tuple[str, str, _Measure]] = []
    for way in DIRECTIONS:
        label = way.capitalize()
        table += [
            (f"{way}_gap", f"{label}: longest silence, ms", _each(way, "gap_ms", "ms")),
            (f"{way}_latency", f"{label}: longest latency, ms", partial(_longest_latency, direction=way)),
            (f"{way}_jitter", f"{label}: jitter in a handover, µs (RFC 3393)", partial(_jitter, direction=way)),
            (f"{way}_reordered", f"{label}: packets reordered", _each(way, "reordered", per)),
            (f"{way}_duplicated", f"{label}: packets duplicated", _each(way, "duplicated", per)),
            (f"{way}_on_air", f"{label}: packets lost on the air", _each(way, "lost_on_air", per)),
            (f"{way}_hops", f"{label}: links beyond the usual, at most", partial(_hops, direction=way)),
            (f"{way}_delay", f"{label}: delay beyond the usual, ms", partial(_extra_delay, direction=way)),
        ]
    return [
        *table,
        ("messages", "Signalling messages a handover", lambda run: _average(run.observed.messages, "messages")),
        ("octets", "Signalling octets a handover", lambda run: _average(run.observed.octets, "octets")),
    ]


def _each(direction: str, key: str, unit: str) -> _Measure:
    def measure(run: Run) -> Finding:
        return _number(_mean(run, direction, key), unit)

    return measure


def _number(value: float | None, unit: str) -> Finding:
    return Finding("-") if value is None else Finding(f"{value:.2f}".rstrip("0").rstrip("."), value, unit)


def _average(statistic: Statistic | None, unit: str) -> Finding:
    return _number(statistic.mean if statistic else None, unit)


def _jitter(run: Run, direction: str) -> Finding:
    return _number(run.observed.jitter_us[direction].inside, "µs")


def _hops(run: Run, direction: str) -> Finding:
    hops = run.observed.extra[direction].hops
    return _number(hops.max if hops else None, "links")


def _extra_delay(run: Run, direction: str) -> Finding:
    delay = run.observed.extra[direction].delay_us
    return _number(delay.mean / 1000 if delay else None, "ms")


def _longest_latency(run: Run, direction: str) -> Finding:
    found = [one[direction].get("latency_ms", {}).get("max") for one in run.handover["handovers"]]
    longest = [one for one in found if one is not None]
    return Finding(f"{mean(longest):.2f}", mean(longest), "ms") if longest else Finding("-")


def _role(node: str) -> str:
    return _ROLES.get(node, node)


def _handovers(run: Run) -> int:
    return len(run.handover["handovers"])


def _mean(run: Run, direction: str, key: str) -> float:
    return float(mean(one[direction][key] for one in run.handover["handovers"]))


def _sum(run: Run, direction: str, key: str) -> int:
    return sum(int(one[direction][key]) for one in run.handover["handovers"])


def _lost_in_all(run: Run) -> float:
    return sum(_mean(run, direction, "lost") for direction in DIRECTIONS)
