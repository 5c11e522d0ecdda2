"""docs/protocol.md says what the codec does: its worked example octet by octet, its table of code points."""

import re
from dataclasses import asdict
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from common.contexts import BindingState
from common.mh.code_points import DEFAULT
from common.mh.codec import decode, encode
from common.mh.messages import (
    AccessTechnologyType,
    AckFlag,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextContinuation,
    ContextData,
    ContextReflection,
    ContextReflectionAck,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    Feature,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    RevocationStatus,
    RevocationTrigger,
    Status,
    Timestamp,
    UpdateFlag,
)
from tests.test_codec import REASONS
from tests.wire import NMAG, NOON

DOCUMENT = Path(__file__).parents[1].joinpath("docs", "protocol.md").read_text()
MN1, HNPS, LL_ID = MnId.nai("mn1@example.net"), (IPv6Network("2001:db8:1000::/64"),), bytes.fromhex("020000000001")
LEFT = Timestamp(NOON + 32768)
STATE = BindingState(sequence=41, timestamp=LEFT, lifetime=300)
CONTEXTS = (NMAG, ContextData(Feature.BINDING_STATE, STATE.to_bytes()), ContextData(0xFF00, b"any data"))
FAST = {
    "mn_id": MN1,
    "hnps": HNPS,
    "access_technology": AccessTechnologyType.IEEE_802_11,
    "mn_ll_id": LL_ID,
    "timestamp": LEFT,
}
# One reactive handover: the messages in the order in which they are sent.
EXAMPLE: dict[str, Message] = {
    "PBU-dereg": ProxyBindingUpdate(
        sequence=41,
        lifetime=0,
        flags=UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY | UpdateFlag.CONTEXT,
        mn_id=MN1,
        hnps=HNPS,
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=LL_ID,
        timestamp=LEFT,
        contexts=CONTEXTS,
    ),
    "PBA-dereg": ProxyBindingAck(
        status=Status.ACCEPTED,
        sequence=41,
        lifetime=0,
        flags=AckFlag.PROXY | AckFlag.CONTEXT,
        mn_id=MN1,
        hnps=HNPS,
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        mn_ll_id=LL_ID,
        timestamp=LEFT,
    ),
    "CR": ContextReflection(
        sequence=41,
        lifetime=10.0,
        acknowledge=True,
        mn_id=MN1,
        hnps=HNPS,
        mn_ll_id=LL_ID,
        contexts=CONTEXTS,
    ),
    "CR-ack": ContextReflectionAck(
        status=Status.ACCEPTED, sequence=41, lifetime=10.0, mn_id=MN1, hnps=HNPS, mn_ll_id=LL_ID
    ),
    "CC": ContextContinuation(
        sequence=41,
        lifetime=10.0,
        part=1,
        parts=2,
        mn_id=MN1,
        hnps=HNPS,
        mn_ll_id=LL_ID,
        contexts=(ContextData(0xFF00, b"the rest"),),
    ),
    "BRI": BindingRevocationIndication(
        trigger=RevocationTrigger.HANDOVER_SAME_ACCESS, sequence=7, mn_id=MN1, hnps=HNPS
    ),
    "BRA": BindingRevocationAck(status=RevocationStatus.SUCCESS, sequence=7, mn_id=MN1, hnps=HNPS),
    "Fast-PBU": FastProxyBindingUpdate(
        sequence=41,
        lifetime=300,
        handoff_indicator=HandoffIndicator.UNKNOWN,
        nmag=IPv6Address("2001:db8:0:2::1"),
        **FAST,  # type: ignore[arg-type]
    ),
    "Fast-PBA": FastProxyBindingAck(
        status=Status.ACCEPTED,
        sequence=41,
        lifetime=300,
        handoff_indicator=HandoffIndicator.UNKNOWN,
        **FAST,  # type: ignore[arg-type]
    ),
    "Reverse-PBU": ReverseProxyBindingUpdate(
        sequence=41,
        lifetime=300,
        handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
        pmag=IPv6Address("2001:db8:0:1::1"),
        **FAST,  # type: ignore[arg-type]
    ),
    "Reverse-PBA": ReverseProxyBindingAck(
        status=Status.ACCEPTED,
        sequence=41,
        lifetime=300,
        handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
        **FAST,  # type: ignore[arg-type]
    ),
}


def blocks() -> dict[str, bytes]:
    """The octets of every block that begins with ```hex NAME; each line's number is its place in the message."""
    found = {}
    for name, text in re.findall(r"^```hex (\S+)\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE):
        octets = b""
        for line in text.splitlines():
            place, digits = line.split("|")[:2]
            assert int(place) == len(octets), f"{name}: {line}"
            octets += bytes.fromhex(digits)
        found[name] = octets
    return found


@pytest.mark.parametrize("name", EXAMPLE)
def test_worked_example(name: str) -> None:
    octets = blocks()[name]
    assert octets.hex(" ") == encode(EXAMPLE[name]).hex(" ")
    assert decode(octets) == EXAMPLE[name]


def test_no_other_example() -> None:
    assert blocks().keys() == EXAMPLE.keys()


def test_code_points() -> None:
    told = {name: int(number, 0) for name, number in re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCUMENT, re.MULTILINE)}
    assert told == asdict(DEFAULT)


def test_features() -> None:
    told = dict(re.findall(r"^\| (\d+) \| ([\w ]+) \|", DOCUMENT, re.MULTILINE))
    assert [int(number) for number in told] == [feature for feature in Feature if feature < Feature.FIRST_LOCAL]


def test_every_refusal_is_named() -> None:
    assert {reason for reason in REASONS if f"`{reason}`" not in DOCUMENT} == set()
