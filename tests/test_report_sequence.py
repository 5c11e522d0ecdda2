"""Message sequence charts: what belongs to what, and where it is put."""

from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from testbed.report import sequence_svg
from testbed.report.sequence_chart import Message, Span, chart_of, figure_of, typical
from testbed.report.sequence_svg import spread
from testbed.report.svg_canvas import Box, Line
from tests.report_fixture import comparison


def event(t_ms: float, node: str, name: str, **more: str) -> dict[str, object]:
    return {"t_us": t_ms * 1000, "node": node, "event": name, **more}


def handover(*events: dict[str, object]) -> dict[str, object]:
    return {"mn": "mn7", "from": "mag1", "to": "mag2", "timeline": list(events), "phase_t_us": {}}


def test_a_repeated_message_belongs_to_the_one_that_took_the_usual_time() -> None:
    chart = chart_of(
        handover(
            event(0, "mag2", "PBU sent", peer="lma"),
            event(1, "mag2", "PBU sent", peer="lma"),
            event(6.1, "lma", "PBU received", peer="mag2"),
            event(7, "lma", "PBA sent", peer="mag2"),
        ),
        rtt_ms=10.0,
        figure=None,
    )
    assert chart.messages == [
        Message("PBU", "nMAG", "LMA", 0, None),
        Message("PBU", "nMAG", "LMA", 1000, 6100),
        Message("PBA", "LMA", "nMAG", 7000, None),
    ]


def test_roles_stand_for_nodes_and_another_router_gets_a_lane_of_its_own() -> None:
    chart = chart_of(
        handover(
            event(0, "mn7", "detached", mag="mag1"),
            event(1, "lma", "hold-started"),
            event(2, "lma", "BRI sent", peer="mag3"),
            event(50, "mn7", "attached", mag="mag2"),
            event(56, "lma", "hold-released"),
        ),
        rtt_ms=10.0,
        figure=None,
    )
    assert chart.lanes == ["MN", "pMAG", "LMA", "nMAG", "mag3", "CN"]
    assert chart.spans == [Span("MN", "away", 0, 50_000), Span("LMA", "hold", 1000, 56_000)]


def test_letters_stand_where_the_figure_says() -> None:
    document = comparison()
    run = document.runs[0]
    chart = chart_of(typical(run), run.rtt_ms, figure_of(document, run))
    assert [(letter.letter, letter.lane, letter.t_us) for letter in chart.letters][:3] == [
        ("a", "pMAG", 300),
        ("b", "pMAG", 500),
        ("c", "LMA", 5500),
    ]
    for width in (1000, 358):
        drawn = ElementTree.fromstring(sequence_svg.draw(chart, width, "x"))
        texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
        assert texts.count("PBU-dereg") == texts.count("PBU") == 1
        assert texts.count("PBA") == 2
        assert "a b" in texts
        x_of = {e.text: float(e.attrib["x"]) for e in drawn.iter("{http://www.w3.org/2000/svg}text")}
        assert max(x_of.values()) <= width


@given(st.lists(st.floats(-1e4, 1e4), max_size=30).map(sorted), st.floats(0.5, 40))
def test_labels_move_apart_and_keep_their_order(places: list[float], least: float) -> None:
    moved = spread(places, least)
    assert len(moved) == len(places)
    assert all(later - earlier >= least - 1e-6 for earlier, later in pairwise(moved))
    if all(later - earlier >= least for earlier, later in pairwise(places)):
        assert moved == places


def test_a_line_that_crosses_a_box_is_told_from_one_that_passes_it() -> None:
    box = Box(0, 0, 10, 10)
    assert box.is_crossed_by(Line(-5, 5, 15, 5))
    assert box.is_crossed_by(Line(-1, -1, 11, 11))
    assert box.is_crossed_by(Line(5, 5, 6, 6))
    assert not box.is_crossed_by(Line(-5, 11, 15, 11))
    assert not box.is_crossed_by(Line(-5, 8, 2, 15.1))
    assert not box.is_crossed_by(Line(12, 0, 12, 10))
