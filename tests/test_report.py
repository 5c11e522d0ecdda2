"""The report page: whole, by itself, with every number where it belongs, whatever the strings in it are."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from click.testing import CliRunner

from testbed.__main__ import main
from testbed.compare.document import Document
from testbed.report import loss_and_gap, page, theme
from testbed.report.sweep import CONTEXT
from tests.report_fixture import KEY, OTHER, comparison, figure, run, write

_VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "col", "source"}
HOSTILE = "<script>alert('1')</script>\"&amp;$x^2$ ]]> \N{SNOWMAN}"


class Page(HTMLParser):
    """What is in a page; raises AssertionError where an element is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _VOID:
            self._open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._note(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            elif name.rpartition(":")[2] in ("href", "src") or "url(" in (value or ""):
                self.references.append((name, value or ""))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a report on the small comparison."""
    file, out = write(comparison(), tmp_path_factory.mktemp("measured")), tmp_path_factory.mktemp("report")
    page.build(file, out)
    return out


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def test_the_page_needs_nothing_but_its_own_directory(report: Path) -> None:
    text = (report / page.PAGE).read_text()
    parsed = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert "@import" not in text
    assert len(parsed.ids) == len(set(parsed.ids))
    for name, reference in parsed.references:
        anchors = re.findall(r"url\(#([^)]*)\)", reference) if "url(" in reference else []
        if reference.startswith("#"):
            anchors = [reference[1:]]
        for anchor in anchors:
            assert anchor in parsed.ids
        assert anchors or (name == "href" and (report / unquote(reference)).exists()), reference


def test_every_figure_is_drawn_for_both_widths_with_its_numbers_beside_it(report: Path) -> None:
    text = (report / page.PAGE).read_text()
    keys = re.findall(r'<figure id="([^"]+)">', text)
    assert keys == [
        "loss-and-silence",
        "phases-pmipv6-reactive",
        "drop-period",
        "over-rtt",
        "signalling-octets",
        "sequence-pmipv6-reactive",
        "sequence-fpmipv6-reactive",
        "packets-pmipv6-reactive",
    ]
    for key, drawn in zip(keys, re.split(r"<figure id=", text)[1:], strict=True):
        assert drawn.count("<svg") == 2
        assert drawn.count('role="img" aria-label="') == 2
        assert (report / "figures" / f"{key}.svg").read_text().count("prefers-color-scheme: dark")
        assert rows(report / "data" / f"{key}.csv")
    assert {file.stem for file in (report / "data").iterdir()} == {*keys, "table1", "ways"}


def test_colours_come_from_the_page(report: Path) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", (report / page.PAGE).read_text(), re.DOTALL))
    assert drawings
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", drawings)
    lights = [colour.light for colour in theme.COLOURS]
    assert len(set(lights)) == len(lights)


def test_the_csv_says_what_the_json_says(report: Path) -> None:
    document = msgspec.json.decode((report / page.JSON_COPY).read_bytes(), type=Document)
    by_key = {one.key: one.handover["handovers"] for one in document.runs}
    at_base = rows(report / "data" / "loss-and-silence.csv")
    assert len(at_base) == 2 * 4
    for row in at_base:
        figures = [handover[row["direction"]][row["measure"]] for handover in by_key[row["run"]]]
        assert float(row["mean"]) == mean(figures)
        assert (float(row["min"]), float(row["max"])) == (min(figures), max(figures))
    assert {row["rtt_ms"] for row in rows(report / "data" / "over-rtt.csv")} == {"1.0", "10.0", "100.0"}
    moments = {row["name"]: float(row["mean_us"]) for row in rows(report / "data" / "phases-pmipv6-reactive.csv")}
    assert (moments["a"], moments["k"], moments["f-g"], moments["in all"]) == (300, 61900, 300, 1700)
    sequence = rows(report / "data" / "sequence-pmipv6-reactive.csv")
    timeline = by_key[KEY][1]["timeline"]
    assert [(float(row["t_us"]), row["node"], row["event"]) for row in sequence] == [
        (event["t_us"], event["node"], event["event"]) for event in timeline
    ]
    assert sum(float(row["octets_per_handover"]) for row in rows(report / "data" / "signalling-octets.csv")) == sum(
        sum(one[0]["bytes_signalled"].values()) for key, one in by_key.items() if key in (KEY, OTHER)
    )


def test_packets_are_those_of_the_handover_shown(report: Path) -> None:
    """The second of three equal silences is the median; the packets file has one packet of it."""
    (only,) = rows(report / "data" / "packets-pmipv6-reactive.csv")
    assert (only["direction"], only["sequence"], only["fate"]) == ("uplink", "3", "received")


def test_claims_that_are_not_supported_come_first_and_plainly(report: Path) -> None:
    text = (report / page.PAGE).read_text()
    claim = text.index("Claims of Table 1 that this measurement does not support")
    assert claim < text.index("<figure")
    said = re.sub(r"<[^>]+>", "", text[claim : text.index("</section>", claim)])
    assert "Candidate traffic of flow management (FPMIPv6): Two uplink packets were lost." in said
    (claimed,) = [row for row in rows(report / "data" / "table1.csv") if row["scheme"] == OTHER]
    assert (claimed["paper"], claimed["measured"], claimed["value"], claimed["supported"]) == (
        *("uplink and downlink", "downlink only"),
        *("2.0", "False"),
    )


def test_ways_that_are_not_usual_are_said_to_be_so(report: Path) -> None:
    text = (report / page.PAGE).read_text()
    section = re.sub(r"<[^>]+>", "", text[text.index('<section id="ways">') :])
    assert "CN → inet → LMA → pMAG → LMA → nMAG → MN: 2 (unusual)" in section
    assert section.index("nMAG → MN: 30") < section.index("(unusual)")
    for said in ("+0.25 links", "+20.00 ms", "nMAG: 7, at most 51.0 ms", "pMAG: 2"):
        assert said in section
    lines = [row for row in rows(report / "data" / "ways.csv") if row["run"] == KEY]
    assert [(row["kind"], row["where"], row["packets"], row["value"]) for row in lines] == [
        ("way", "cn>inet>lma>pmag>lma>nmag>mn", "2", ""),
        ("way", "cn>inet>lma>nmag>mn", "30", ""),
        ("kept", "nmag", "7", "51000.0"),
        ("diverted", "pmag", "2", ""),
        ("extra hops", "", "2", "0.25"),
        ("extra octets", "", "0", ""),
        ("extra us", "", "1", "20000.0"),
    ]


def test_raw_data_comes_along(report: Path) -> None:
    assert (report / "runs" / KEY / "run" / "captures" / "lma.pcap").read_bytes() == b"\xa1\xb2\x3c\x4d"
    assert (report / "runs" / KEY / "packets.csv").exists()
    assert not (report / "runs" / OTHER).exists()
    assert "testbed compare --rtt 1,10,100" in (report / page.PAGE).read_text()


def hostile(value: Any) -> Any:
    """Every string but the ones that programs go by is replaced."""
    fixed = {"kind", "mode", "direction", "event", "fate", "role", "letter", "name", "node", "mn", "from", "to", "peer"}
    if isinstance(value, dict):
        return {key: one if key in fixed else hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def test_no_string_is_taken_for_markup(tmp_path: Path) -> None:
    document = hostile(msgspec.to_builtins(comparison(other_figures=[figure(HOSTILE)])))
    document["runs"][-1]["scheme"] += " too"
    document["other_figures"][0]["scheme"] += " too"
    for one in document["runs"]:
        one["packets"], one["captures"] = "javascript:alert(1)", f"runs/{KEY}/run"
        for handover in one["handover"]["handovers"]:
            handover["bytes_signalled"] = {HOSTILE: 128}
            handover["timeline"] += [
                {"t_us": 70000.0, "node": "lma", "event": f"{HOSTILE} sent", "peer": HOSTILE},
                {"t_us": 71000.0, "node": "lma", "event": f"{HOSTILE} sent", "peer": handover["from"]},
            ]
    document["table1"][0].update(
        paper={HOSTILE: HOSTILE}, measured={HOSTILE: {"text": HOSTILE}}, supported={HOSTILE: False}
    )
    file = tmp_path / "hostile.json"
    file.write_bytes(msgspec.json.encode(document))
    (tmp_path / "javascript:alert(1)").write_text("")
    text = page.build(file, tmp_path / "out").read_text()
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert any(HOSTILE in one for one in parsed.texts)
    assert not [reference for _, reference in parsed.references if reference.startswith("javascript:")]
    assert len(parsed.ids) == len(set(parsed.ids))


def test_whatever_is_missing_is_left_out(tmp_path: Path) -> None:
    alone = comparison(runs=[run(key="a")], table1=[], figure13=None, drop_period=[], skipped=[])
    text = page.build(write(alone, tmp_path), tmp_path).read_text()
    assert re.findall(r'<figure id="([^"]+)">', text) == [
        "loss-and-silence",
        "signalling-octets",
        "sequence-pmipv6-reactive",
    ]
    Page(text)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not what testbed compare writes"),
        ('{"schema": 1}', "missing required field"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, content: str | None, complaint: str) -> None:
    file = tmp_path / "compare.json"
    if content is not None:
        file.write_text(content)
    result = CliRunner().invoke(main, ["report", str(file)])
    assert result.exit_code == 1
    assert complaint in result.output
    assert len(result.output.splitlines()) == 1


def test_paths_out_of_the_directory_are_refused(tmp_path: Path) -> None:
    stray = msgspec.structs.replace(run(), captures="../elsewhere")
    result = CliRunner().invoke(main, ["report", str(write(comparison(runs=[stray]), tmp_path))])
    assert result.exit_code == 1
    assert "does not lie beside the JSON" in result.output


def test_over_the_size_of_the_context_signalling_is_shown_too() -> None:
    bare = msgspec.structs.replace(run(key="bare", base=False), context_bytes=0)
    drawn = loss_and_gap.over(comparison(runs=[run(), bare]), CONTEXT)
    assert drawn is not None
    signalled = mean(sum(one["bytes_signalled"].values()) for one in bare.handover["handovers"])
    figures = [(row[2], row[6]) for row in drawn.table.rows if row[4] == "bytes_signalled"]
    assert figures == [(0, signalled), (64, signalled)]
    assert ">64<" in drawn.wide  # the axis is logarithmic and has a place for nothing all the same
