"""A small comparison made up in a test, as `testbed compare` would write it: handovers whose figures are known."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from testbed.compare import document as d
from testbed.measurement.measure import measure
from testbed.measurement.phases import FIGURES
from tests.made_handover import made_run

KEY = "pmipv6-reactive-rtt10-l2-50-rate200-ctx64"
OTHER = "fpmipv6"
PACKETS = """handover,mn,direction,sequence,sent_us,delay_us,fate,copies,path,within
0,mn,downlink,1,-12.5,5300,received,1,cn>inet>lma>mag1>mn,1
0,mn,downlink,2,4987.5,,lost,0,cn>inet>lma,1
0,mn,downlink,3,9987.5,51000.25,received,1,cn>inet>lma>mag1>lma>mag2>mn,1
0,mn,uplink,1,2000,,lost_on_air,0,mn,1
0,mn,uplink,2,61000,5300,received,1,mn>mag2>lma>inet>cn,1
1,mn,uplink,3,0,7,received,1,mn>mag2>lma>inet>cn,1
"""


@cache
def handover_object() -> dict[str, Any]:
    """What `testbed handover --json` says of three made-up handovers."""
    with TemporaryDirectory() as directory:
        return measure(made_run(3).write(Path(directory, "run")))


def run(
    scheme: str = "pmipv6", *, key: str = KEY, base: bool = True, rtt_ms: float = 10.0, l2_ms: float = 50.0
) -> d.Run:
    statistic = d.Statistic.of([4.0, 4.0, 5.0])
    observed = d.Observed(
        associations=[],
        held=[d.Held("nmag", "downlink", 7, 51_000.0)],
        redirected=[d.Redirected("pmag", "downlink", 2)],
        paths=[
            d.Way("downlink", ("cn", "inet", "lma", "pmag", "lma", "nmag", "mn"), 2, False),
            d.Way("downlink", ("cn", "inet", "lma", "nmag", "mn"), 30, True),
        ],
        extra={"downlink": d.Extra(d.Statistic.of([0.0, 0.5]), None, d.Statistic.of([20_000.0]))},
        jitter_us={},
        messages=statistic,
        octets=statistic,
    )
    return d.Run(
        key=key,
        base=base,
        scheme=scheme,
        mode="reactive",
        rtt_ms=rtt_ms,
        l2_ms=l2_ms,
        rate_pps=200.0,
        context_bytes=64,
        handover={**handover_object(), "scheme": scheme},
        observed=observed,
        packets=f"runs/{key}/packets.csv",
        captures=f"runs/{key}/run",
    )


def figure(scheme: str = "pmipv6") -> d.FigureSeen:
    """Figure 13, whose moments are the same in all made-up handovers."""
    drawn, handovers = FIGURES["pmipv6"], handover_object()["handovers"]
    roles = {
        letter: role for role, letters in (("pMAG", "abe"), ("LMA", "cdhi"), ("nMAG", "fgjk")) for letter in letters
    }
    moments = [
        d.MomentSeen(letter, meaning, roles[letter], d.Statistic.of([one["phase_t_us"][letter] for one in handovers]))
        for letter, meaning, _ in drawn.moments
    ]
    processing = [
        d.ProcessingSeen(
            one.name, roles[one.ends], d.Statistic.of([h["processing"][one.name] for h in handovers]), one.paper_us
        )
        for one in drawn.processing
    ]
    in_all = d.ProcessingInAll(d.Statistic.of([sum(h["processing"].values()) for h in handovers]), 1677.6)
    return d.FigureSeen(13, scheme, "reactive", KEY, len(handovers), moments, [], processing, in_all, "")


def decomposition(scheme: str = "pmipv6") -> d.Decomposition:
    parts = [
        d.Part("L2", "radio", d.Statistic.of([50_000.0])),
        d.Part("RTT", "travel", d.Statistic.of([10_000.0])),
        d.Part("processing", "processing", d.Statistic.of([1_500.0]), 1677.6),
    ]
    total, gap = d.Statistic.of([61_500.0]), d.Statistic.of([65_000.0])
    return d.Decomposition(scheme, "reactive", KEY, "L2 + RTT + processing", "all of it", parts, total, gap, None, None)


def comparison(**fields: Any) -> d.Document:
    """Two schemes at the base point, one of them at two more round-trip times."""
    longer = [run(key=f"pmipv6-rtt{rtt_ms:g}", base=False, rtt_ms=rtt_ms) for rtt_ms in (1.0, 100.0)]
    row = d.Row(
        "traffic",
        "Candidate traffic of flow management",
        "Table 1",
        {OTHER: "uplink and downlink"},
        {OTHER: d.Cell("downlink only", 2.0, "packets", KEY), "pmipv6": d.Cell("none")},
        {OTHER: False, "pmipv6": None},
        "Two uplink packets were lost.",
    )
    whole = d.Document(
        schema=1,
        command="testbed compare --rtt 1,10,100",
        environment=d.Environment("6.1.0", "vm", "virtual", "abc1234", "2026-11-25", {"python": "3.11"}),
        sweep=d.Sweep(d.Point(), ["pmipv6", OTHER], ["reactive"], [1, 10, 100], [50], [200], [64]),
        runs=[run(), *longer, run(OTHER, key=OTHER)],
        skipped=[d.Skipped("pmipv6", "predictive", 10, 50, 200, 64, "there is no such mode")],
        table1=[row],
        figure13=figure(),
        figure14=None,
        other_figures=[],
        drop_period=[decomposition()],
    )
    return msgspec.structs.replace(whole, **fields)


def write(document: d.Document, directory: Path) -> Path:
    """The JSON in that directory, with the packets and a capture of the first run beside it."""
    records = directory / "runs" / KEY
    (records / "run" / "captures").mkdir(parents=True)
    (records / "packets.csv").write_text(PACKETS)
    (records / "run" / "captures" / "lma.pcap").write_bytes(b"\xa1\xb2\x3c\x4d")
    file = directory / "compare.json"
    file.write_bytes(msgspec.json.encode(document))
    return file
