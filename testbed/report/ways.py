"""Which way the packets of a handover went, what that cost them, and which node kept or diverted them."""

from collections.abc import Iterator
from typing import NamedTuple

from testbed.compare.document import Document, Run, Statistic
from testbed.measurement.observations import DIRECTIONS
from testbed.report import theme
from testbed.report.plot import Table
from testbed.report.sweep import base_runs

_NAMES = {"mn": "MN", "pmag": "pMAG", "lma": "LMA", "nmag": "nMAG", "cn": "CN"}
_ARROW = " \N{RIGHTWARDS ARROW} "


class WaySeen(NamedTuple):
    path: str
    packets: int
    usual: bool


class Row(NamedTuple):
    """One scheme, mode and direction; what is None was not measured, what is empty did not happen."""

    label: str
    direction: str
    ways: list[WaySeen]
    extra: list[str]
    kept: list[str]
    diverted: list[str]


def rows(document: Document) -> list[Row]:
    return [row for run in base_runs(document) for row in _rows_of(run)]


def table(document: Document) -> Table:
    """Every way, and for each direction what it cost; `kind` says what the columns behind it are of."""
    lines: list[list[str | int | float | bool | None]] = []
    for run in base_runs(document):
        seen, who = run.observed, (run.key, run.scheme, run.mode)
        for way in seen.paths:
            lines.append([*who, way.direction, "way", ">".join(way.path), way.packets, None, way.usual])
        for held in seen.held:
            lines.append([*who, held.direction, "kept", held.node, held.packets, held.longest_us, None])
        for redirected in seen.redirected:
            lines.append([*who, redirected.direction, "diverted", redirected.node, redirected.packets, None, None])
        for direction, extra in seen.extra.items():
            for name, statistic in (("hops", extra.hops), ("octets", extra.core_octets), ("us", extra.delay_us)):
                mean, n = (statistic.mean, statistic.n) if statistic else (None, 0)
                lines.append([*who, direction, f"extra {name}", None, n, mean, None])
    return Table(["run", "scheme", "mode", "direction", "kind", "where", "packets", "value", "usual"], lines)


def _rows_of(run: Run) -> Iterator[Row]:
    seen = run.observed
    if not seen.paths:
        return
    for direction in DIRECTIONS:
        ways = sorted((way for way in seen.paths if way.direction == direction), key=lambda way: -way.packets)
        extra = seen.extra.get(direction)
        yield Row(
            label=theme.name_of(run.scheme, run.mode),
            direction=direction,
            ways=[WaySeen(_ARROW.join(map(_name, way.path)), way.packets, way.usual) for way in ways],
            extra=[
                _of(statistic, scale, unit)
                for statistic, scale, unit in (
                    (extra.hops, 1, "links"),
                    (extra.core_octets, 1, "octets"),
                    (extra.delay_us, 1000, "ms"),
                )
                if statistic
            ]
            if extra
            else [],
            kept=[
                f"{_name(held.node)}: {held.packets}, at most {held.longest_us / 1000:.1f} ms"
                for held in seen.held
                if held.direction == direction
            ],
            diverted=[f"{_name(one.node)}: {one.packets}" for one in seen.redirected if one.direction == direction],
        )


def _name(node: str) -> str:
    return _NAMES.get(node, node)


def _of(statistic: Statistic, scale: float, unit: str) -> str:
    return f"{statistic.mean / scale:+.2f} {unit}".replace("-", "\N{MINUS SIGN}")
