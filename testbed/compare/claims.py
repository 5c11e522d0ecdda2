"""What the paper claims: Table 1 cell by cell, and what section 4.3 says of the three schemes beyond it.

A claim is data; whether the measurement bears it out is found in `table1.py`.
"""

from typing import NamedTuple

CONTEXT_REFLECTOR, FPMIPV6, FAST_HANDOVER = "context-reflector", "fpmipv6", "fast-handover"
TABLE_1 = "Table 1"

# The mode in which the paper describes a scheme: its figures 7, 10 and 11.
PAPER_MODES = {CONTEXT_REFLECTOR: "reactive", FPMIPV6: "predictive", FAST_HANDOVER: "predictive"}


class Claim(NamedTuple):
    """A row; `cells` has the paper's words by scheme."""

    key: str
    row: str
    source: str | None
    cells: dict[str, str]


SECURITY_ASSOCIATION = Claim(
    "security_association",
    "Security association",
    TABLE_1,
    {CONTEXT_REFLECTOR: "LMA-pMAG/nMAG", FPMIPV6: "pMAG-nMAG", FAST_HANDOVER: "LMA-pMAG/nMAG"},
)
FLOW_MANAGEMENT = Claim(
    "flow_management",
    "Entity performing flow management",
    TABLE_1,
    {CONTEXT_REFLECTOR: "LMA", FPMIPV6: "pMAG and nMAG", FAST_HANDOVER: "LMA and nMAG"},
)
CANDIDATE_TRAFFIC = Claim(
    "candidate_traffic",
    "Candidate traffic of flow management",
    TABLE_1,
    {CONTEXT_REFLECTOR: "uplink and downlink", FPMIPV6: "uplink and downlink", FAST_HANDOVER: "downlink"},
)
DELIVERY_PATH = Claim(
    "delivery_path",
    "Delivery path of the data traffic of the MN during handover",
    TABLE_1,
    {CONTEXT_REFLECTOR: "optimal", FPMIPV6: "redundant", FAST_HANDOVER: "optimal"},
)
OPTIMIZING = Claim(
    "optimizing",
    "Optimizing handover process",
    TABLE_1,
    dict.fromkeys((CONTEXT_REFLECTOR, FPMIPV6, FAST_HANDOVER), "packet loss and handover latency"),
)
EXTENSION = Claim(
    "extension",
    "Entity requiring the extension",
    TABLE_1,
    {
        CONTEXT_REFLECTOR: "LMA, pMAG and nMAG",
        FPMIPV6: "pMAG and nMAG",
        FAST_HANDOVER: "LMA, pMAG and nMAG",
    },
)
ONLY_ONE = Claim(
    "only_one",
    "No loss in either direction, on the optimal path",
    "section 4.3.2",
    {CONTEXT_REFLECTOR: "yes, the only one", FPMIPV6: "no: redundant path", FAST_HANDOVER: "no: loses uplink"},
)
LOST = {
    "downlink": Claim(
        "downlink_lost",
        "Downlink packets lost",
        "section 4.3.2",
        dict.fromkeys((CONTEXT_REFLECTOR, FPMIPV6, FAST_HANDOVER), "none"),
    ),
    "uplink": Claim(
        "uplink_lost",
        "Uplink packets lost",
        "section 4.3.2",
        {CONTEXT_REFLECTOR: "none", FPMIPV6: "none", FAST_HANDOVER: "some"},
    ),
}
EXTRA_OCTETS = Claim(
    "extra_octets",
    "Octets on the core links beyond the usual, a packet",
    "section 4.3.2",
    {FPMIPV6: "a tunnel more, large overhead"},
)
CONTEXT_TRANSFER = Claim(
    "context_transfer",
    "State of AAA, ROHC, QoS and others travels with the MN",
    "section 4.3.3",
    {CONTEXT_REFLECTOR: "yes", FPMIPV6: "yes", FAST_HANDOVER: "no: policy profile and Proxy-CoA only"},
)

# Why the lab shows something else, where that is known.
NOTES = {
    (key, CONTEXT_REFLECTOR): "what the pMAG gives back had gone there before the LMA knew of the move; the paper says "
    "nothing of it, and leaving it there would lose it"
    for key in (FLOW_MANAGEMENT.key, DELIVERY_PATH.key, ONLY_ONE.key)
}
