"""The report's directory: the page, and beside it a CSV and an SVG for every figure, the JSON, packets and captures.

index.html   data/KEY.csv   figures/KEY.svg   compare.json   what the JSON refers to (packets, captures)
"""

import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from testbed.compare.document import SCHEMA, Document, Run
from testbed.report import claims, drop_period, loss_and_gap, packets, paper_figures, sequence, signalling, theme, ways
from testbed.report.drawing import standalone
from testbed.report.plot import Plot
from testbed.report.sweep import PARAMETERS, base_runs

PAGE, DATA, FIGURES, JSON_COPY = "index.html", "data", "figures", "compare.json"
_TABLE1_CSV, _WAYS_CSV = "table1.csv", "ways.csv"


class ReportError(Exception):
    """There can be no report; the text is one line."""


def load(file: Path) -> Document:
    """What `testbed compare --json` wrote. Raises ReportError."""
    try:
        document = msgspec.json.decode(file.read_bytes(), type=Document)
    except OSError as error:
        raise ReportError(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ReportError(f"{file}: not what testbed compare writes: {error}") from error
    if document.schema != SCHEMA:
        raise ReportError(f"{file}: schema {document.schema}, this program knows {SCHEMA}")
    return document


def build(file: Path, out: Path, progress: Callable[[str], Any] = lambda _: None) -> Path:
    """Draw everything that the comparison in `file` has into `out`; the page. Raises ReportError."""
    document = load(file)
    for name in (DATA, FIGURES):
        (out / name).mkdir(parents=True, exist_ok=True)
    sections = dict(_sections(document, file.parent))
    for number, plot in enumerate(chain.from_iterable(sections.values()), 1):
        progress(f"figure {number}: {plot.title}")
        (out / DATA / f"{plot.key}.csv").write_text(plot.table.as_csv())
        (out / FIGURES / f"{plot.key}.svg").write_text(standalone(plot.wide, plot.alt))
    (out / DATA / _TABLE1_CSV).write_text(claims.table(document).as_csv())
    (out / DATA / _WAYS_CSV).write_text(ways.table(document).as_csv())
    present = _bring(document, file, out)
    page = out / PAGE
    page.write_text(render(document, sections, present))
    return page


def _sections(document: Document, records: Path) -> Iterator[tuple[str, list[Plot]]]:
    """The plots by the part of the page that they belong to."""
    runs = base_runs(document)
    yield "loss", [loss_and_gap.at_base(document)] if runs else []
    yield "phases", paper_figures.plots(document)
    yield "drop", [plot for plot in [drop_period.plot(document)] if plot]
    yield "over", [plot for parameter in PARAMETERS if (plot := loss_and_gap.over(document, parameter))]
    yield "signalling", [signalling.plot(document)] if runs else []
    yield "sequences", [sequence.plot(document, run) for run in runs]
    yield "packets", packets.plots(document, records)


def render(document: Document, sections: dict[str, list[Plot]], present: set[str]) -> str:
    """The page's HTML; `present` are the paths in the JSON that lead to something."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    schemes = claims.schemes_of(document)
    good, judged = claims.counts(document)
    return environment.get_template("page.html.j2").render(
        document=document,
        base=document.sweep.base,
        sections=sections,
        rows=[(row, claims.entries(row, schemes)) for row in document.table1],
        schemes=[theme.style_of(scheme) for scheme in schemes],
        unsupported=list(claims.unsupported(document)),
        supported=good,
        judged=judged,
        runs=[(run, theme.name_of(run.scheme, run.mode), present & set(_files_of(run))) for run in document.runs],
        skipped=[(point, theme.name_of(point.scheme, point.mode)) for point in document.skipped],
        style=Markup(theme.style_sheet() + Path(__file__).with_name("page.css").read_text()),
        svg=Markup,
        ways=ways.rows(document),
        table1_csv=f"{DATA}/{_TABLE1_CSV}",
        ways_csv=f"{DATA}/{_WAYS_CSV}",
        json_copy=JSON_COPY,
        handovers=sum(len(run.handover["handovers"]) for run in document.runs),
    )


def _bring(document: Document, file: Path, out: Path) -> set[str]:
    """The JSON, and what it refers to, into the report's directory; the paths in it that lead to something."""
    if file.resolve() != (out / JSON_COPY).resolve():
        shutil.copyfile(file, out / JSON_COPY)
    paths = {path for run in document.runs for path in _files_of(run) if (file.parent / path).exists()}
    if file.parent.resolve() != out.resolve():
        for path in paths:
            source, target = file.parent / path, out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)
    return paths


def _files_of(run: Run) -> list[str]:
    """Paths relative to the JSON. Raises ReportError for one that leads out of its directory."""
    paths = [path for path in (run.packets, run.captures) if path]
    for path in paths:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ReportError(f"run {run.key}: {path} does not lie beside the JSON")
    return paths
