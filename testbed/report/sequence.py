"""Message sequence charts: one for each scheme and mode, drawn from what the captures saw of one handover."""

from testbed.compare.document import Document, Run
from testbed.report import sequence_svg, theme
from testbed.report.plot import Plot, Table, Value, key_of
from testbed.report.sequence_chart import Chart, chart_of, figure_of, typical


def plot(document: Document, run: Run) -> Plot:
    """The run's handover with the median silence."""
    handover = typical(run)
    chart = chart_of(handover, run.rtt_ms, figure_of(document, run))
    name = theme.name_of(run.scheme, run.mode)
    rows: list[list[Value]] = [
        [event["t_us"], event["node"], event["event"], event.get("peer"), event.get("direction")]
        for event in handover["timeline"]
    ]
    return Plot(
        key=key_of("sequence", run.scheme, run.mode),
        title=name,
        caption=(
            f"Handover {handover['index']} of {len(run.handover['handovers'])}, the one with the median downlink "
            f"silence ({handover['downlink']['gap_ms']:.1f} ms). Time runs downwards, to scale, from the radio's "
            "detach. Dotted: the MN has no link; first packet: the first that came by the nMAG"
            + ("; thick: the node holds the MN's packets" if any(span.kind == "hold" for span in chart.spans) else "")
            + ("; crossed: the message never arrived" if any(m.received_us is None for m in chart.messages) else "")
            + "."
        ),
        alt=f"Message sequence chart of {name}: {_in_words(chart)}",
        table=Table(["t_us", "node", "event", "peer", "direction"], rows),
        draw=lambda width, ids: sequence_svg.draw(chart, width, ids),
    )


def _in_words(chart: Chart) -> str:
    messages = [
        (m.sent_us, f"{m.name} from {m.sender} to {m.receiver}{'' if m.received_us is not None else ', lost'}")
        for m in chart.messages
    ]
    marks = [(mark.t_us, f"{mark.lane} {mark.text}") for mark in chart.marks]
    return "; ".join(f"{t_us / 1000:.1f} ms {text}" for t_us, text in sorted(messages + marks)) + "."
