"""Each cell of Table 1: what a run must show for the paper's claim to be borne out, and what speaks against it."""

from typing import Any

import msgspec
import pytest

from testbed.compare.document import Association, Extra, Held, Jitter, Observed, Redirected, Row, Run, Statistic, Way
from testbed.compare.table1 import rows

REFLECTOR, FPMIPV6, FAST = "context-reflector", "fpmipv6", "fast-handover"
STRAIGHT = Way("downlink", ("cn", "inet", "lma", "nmag", "mn"), 40, usual=True)
BY_PMAG = Way("downlink", ("cn", "inet", "lma", "pmag", "lma", "nmag", "mn"), 20, usual=False)
WITH_LMA = [Association(("lma", "pmag"), 6, 600), Association(("lma", "nmag"), 6, 600)]
BETWEEN_MAGS = Association(("pmag", "nmag"), 8, 900)
NOTHING_MORE = Extra(Statistic.of([0.0]), Statistic.of([0.0]), Statistic.of([0.0]))


def made(
    scheme: str,
    lost: tuple[float, float] = (0, 0),
    *,
    gap_ms: float = 60.0,
    key: str = "",
    base: bool = True,
    context_bytes: int = 64,
    **observed: Any,
) -> Run:
    """Two handovers, `lost` packets downlink and uplink in each; a run in which nothing else is remarkable."""
    seen = Observed(
        **{
            "associations": WITH_LMA,
            "held": [],
            "redirected": [],
            "paths": [STRAIGHT],
            "extra": {"downlink": NOTHING_MORE, "uplink": NOTHING_MORE},
            "jitter_us": {"downlink": Jitter(12.5, 3.0), "uplink": Jitter(None, 3.0)},
            "messages": Statistic.of([6.0]),
            "octets": Statistic.of([900.0]),
            **observed,
        }
    )
    ways = {
        way: {
            "lost": count,
            "gap_ms": gap_ms,
            "duplicated": 1,
            "reordered": 3,
            "lost_on_air": 2,
            "latency_ms": {"max": 61.5},
        }
        for way, count in zip(("downlink", "uplink"), lost, strict=True)
    }
    mode = "predictive" if scheme in (FPMIPV6, FAST) else "reactive"
    handover = {"handovers": [ways, ways]}
    return Run(
        key or scheme, base, scheme, mode, 10.0, 50.0, 200.0, context_bytes, handover, seen, "packets.csv", "run"
    )  # fmt: skip


def table(*runs: Run) -> dict[str, Row]:
    return {row.key: row for row in rows([made("pmipv6", (12, 3), gap_ms=65.0), *runs])}


AS_THE_PAPER_SAYS = {
    REFLECTOR: made(REFLECTOR, held=[Held("lma", "downlink", 20, 60_000.0)], contexts_stored=2),
    FPMIPV6: made(
        FPMIPV6,
        associations=[*WITH_LMA, BETWEEN_MAGS],
        held=[Held("nmag", "downlink", 20, 50_000.0)],
        redirected=[Redirected("pmag", "downlink", 20)],
        paths=[STRAIGHT, BY_PMAG],
        extra={"downlink": Extra(None, Statistic.of([480.0]), None), "uplink": NOTHING_MORE},
        contexts_stored=2,
    ),
    FAST: made(
        FAST,
        (0, 2),
        held=[Held("nmag", "downlink", 20, 50_000.0)],
        redirected=[Redirected("lma", "downlink", 20)],
    ),
}


def test_a_run_that_shows_what_the_paper_says_bears_it_all_out() -> None:
    found = table(*AS_THE_PAPER_SAYS.values())
    judged = {(key, scheme): row.supported[scheme] for key, row in found.items() for scheme in row.paper}
    nobody_can_say = {("context_transfer", FAST)}
    assert {cell for cell, supported in judged.items() if supported is None} == nobody_can_say
    assert {cell for cell, supported in judged.items() if supported is False} == set()
    assert all(row.remark == "" for row in found.values())
    assert list(found)[:6] == [
        "security_association",
        "flow_management",
        "candidate_traffic",
        "delivery_path",
        "optimizing",
        "extension",
    ]


@pytest.mark.parametrize(
    ("row", "scheme", "otherwise", "said"),
    [
        ("security_association", REFLECTOR, {"associations": [*WITH_LMA, BETWEEN_MAGS]}, "pMAG-nMAG (4 messages)"),
        ("security_association", FPMIPV6, {"associations": WITH_LMA}, "LMA-pMAG (3 messages), LMA-nMAG (3 messages)"),
        (
            "flow_management",
            REFLECTOR,
            {"redirected": [Redirected("pmag", "downlink", 4)]},
            "pMAG redirects 2 downlink",
        ),
        ("flow_management", FAST, {"held": []}, "LMA (LMA redirects 10 downlink"),
        ("candidate_traffic", REFLECTOR, {"lost": (0, 1)}, "downlink saved; lost a handover: 1 uplink, 0 downlink"),
        ("candidate_traffic", FAST, {"lost": (0, 0)}, "uplink and downlink saved"),
        (
            "delivery_path",
            REFLECTOR,
            {"paths": [STRAIGHT, BY_PMAG]},
            "10 downlink packets a handover by cn-inet-LMA-pMAG",
        ),
        ("delivery_path", FPMIPV6, {"paths": [STRAIGHT]}, "optimal, of 20 packets"),
        ("optimizing", FAST, {"gap_ms": 70.0}, "silence 65.00 to 70.00 ms"),
        ("optimizing", FAST, {"lost": (15, 0)}, "packets lost 15 to 15"),
        ("only_one", REFLECTOR, {"lost": (1, 0)}, "no: 1 packets lost a handover, path optimal"),
        ("only_one", FPMIPV6, {"paths": [STRAIGHT]}, "yes"),
        ("downlink_lost", FPMIPV6, {"lost": (0.5, 0)}, "0.5"),
        ("uplink_lost", FAST, {"lost": (0, 0)}, "0"),
        (
            "extra_octets",
            FPMIPV6,
            {"extra": {"downlink": NOTHING_MORE, "uplink": NOTHING_MORE}},
            "downlink 0 (up to 0)",
        ),
        ("context_transfer", REFLECTOR, {"contexts_stored": 0}, "no context reaches the nMAG"),
    ],
)
def test_what_speaks_against_a_claim_is_said_with_its_figures(
    row: str, scheme: str, otherwise: dict[str, Any], said: str
) -> None:
    whole = AS_THE_PAPER_SAYS[scheme]
    lost = tuple(whole.handover["handovers"][0][way]["lost"] for way in ("downlink", "uplink"))
    found = table(made(scheme, **{"lost": lost, **msgspec.structs.asdict(whole.observed), **otherwise}))[row]
    assert found.supported[scheme] is False
    assert said in found.remark


def test_a_context_has_been_carried_where_signalling_grows_with_it() -> None:
    runs = [
        made(FPMIPV6, key=f"of-{size}", base=size == 64, context_bytes=size, octets=Statistic.of([900.0 + size]))
        for size in (64, 6000)
    ]
    cell = table(*runs)["context_transfer"].measured[FPMIPV6]
    assert cell.text.endswith(
        "64 octets of context: 964 octets signalled; 6000 octets of context: 6900 octets signalled"
    )


def test_the_code_of_a_scheme_is_counted_whole() -> None:
    """Of RFC 5949 that is a directory, and there is none at the anchor."""
    measured = table(*AS_THE_PAPER_SAYS.values())["extension"].measured
    assert measured["pmipv6"].text == "none"
    assert measured[FPMIPV6].text.startswith("pMAG and nMAG (")
    assert (measured[FPMIPV6].value or 0) > 500
    assert measured[REFLECTOR].text.startswith("LMA, pMAG and nMAG (")


def test_what_is_only_measured_has_its_unit() -> None:
    extra = {"downlink": Extra(Statistic.of([2.0]), None, Statistic.of([9_000.0, 11_000.0])), "uplink": NOTHING_MORE}
    found = table(made(REFLECTOR, extra=extra))
    cells = {key: row.measured[REFLECTOR] for key, row in found.items() if row.source is None}
    assert {key: (cell.value, cell.unit) for key, cell in cells.items() if key.startswith("downlink")} == {
        "downlink_gap": (60.0, "ms"),
        "downlink_latency": (61.5, "ms"),
        "downlink_jitter": (12.5, "µs"),
        "downlink_reordered": (3.0, "packets a handover"),
        "downlink_duplicated": (1.0, "packets a handover"),
        "downlink_on_air": (2.0, "packets a handover"),
        "downlink_hops": (2.0, "links"),
        "downlink_delay": (10.0, "ms"),
    }
    assert (cells["uplink_jitter"].text, cells["uplink_jitter"].value) == ("-", None)
    assert (cells["messages"].value, cells["octets"].value) == (6.0, 900.0)
