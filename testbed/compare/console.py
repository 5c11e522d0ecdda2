"""A comparison as a person reads it at a terminal: Table 1, the silence taken apart, and what is not borne out."""

from textwrap import fill, indent

from testbed.compare.document import Decomposition, Document, Row, Statistic
from testbed.table import table

_WIDTH = 118
_VERDICTS = {True: "borne out", False: "NOT borne out", None: "not judged"}


def render(document: Document) -> str:
    """The main results; the JSON and the report have everything."""
    parts = [
        _title(document),
        _numbers(document),
        _claims(document),
        _drop_period(document),
    ]
    if unsupported := [row for row in document.table1 if row.remark]:
        lines = [
            fill(f"{row.row}: {row.remark}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
            for row in unsupported
        ]
        parts.append("\n".join(["Not borne out by the measurement:", *lines]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(document: Document) -> str:
    base, environment = document.sweep.base, document.environment
    return (
        f"{len(document.runs)} runs; base point: RTT {base.rtt_ms:g} ms, L2 {base.l2_ms:g} ms, "
        f"{base.rate_pps:g} packets/s each way, {base.context_bytes} octets of context\n"
        f"({environment.backend}, kernel {environment.kernel}, {environment.clock} clock)"
    )


def _schemes(document: Document) -> list[str]:
    return list(dict.fromkeys(run.scheme for run in document.runs))


def _numbers(document: Document) -> str:
    """Rows whose cells are figures alone."""
    schemes = _schemes(document)
    rows = [row for row in document.table1 if not row.paper or row.key.endswith("_lost")]
    if not rows:
        return ""
    body = [
        [row.row, *(row.measured[scheme].text if scheme in row.measured else "-" for scheme in schemes)] for row in rows
    ]
    return table(["Means over the handovers at the base point", *schemes], body)


def _claims(document: Document) -> str:
    """Table 1: what the paper says, what was measured, scheme by scheme."""
    rows = [row for row in document.table1 if row.paper and not row.key.endswith("_lost")]
    return "\n\n".join(_claim(row, _schemes(document)) for row in rows)


def _claim(row: Row, schemes: list[str]) -> str:
    lines = [f"{row.row} ({row.source})"]
    for scheme in schemes:
        cell = row.measured.get(scheme)
        if cell is None:
            continue
        verdict = _VERDICTS[row.supported.get(scheme)]
        said = f"paper: {row.paper[scheme]}; {verdict}; " if scheme in row.paper else ""
        lines.append(
            fill(f"{scheme}: {said}measured: {cell.text}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
        )
    return "\n".join(lines)


def _drop_period(document: Document) -> str:
    return "\n\n".join(_decomposed(one) for one in document.drop_period)


def _decomposed(one: Decomposition) -> str:
    rows = [[part.name, *_figures(part.us), _us(part.paper_us)] for part in one.parts]
    rows.append(["in all", *_figures(one.sum_us), ""])
    rows.append(["silence that the MN saw", *_figures(one.gap_us), ""])
    head = f"{one.scheme}, {one.mode}: {one.formula}" + (f" (paper: {one.paper})" if one.paper else "")
    return f"{head}\n{indent(table(['µs', 'mean', 'sd', 'n', 'paper'], rows), '  ')}"


def _figures(statistic: Statistic | None) -> list[str]:
    if statistic is None:
        return ["-", "-", "0"]
    return [_us(statistic.mean), _us(statistic.sd), str(statistic.n)]


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
