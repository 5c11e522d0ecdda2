"""The vectors of the wire format and their meaning."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    AckFlag,
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextContinuation,
    ContextData,
    ContextReflection,
    ContextReflectionAck,
    ContextRequest,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoffIndicator,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateCode,
    HandoverInitiateFlag,
    Heartbeat,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
    Status,
    Timestamp,
    UpdateFlag,
)

MN1 = MnId.nai("mn1@example.net")
HNP = IPv6Network("2001:db8:1000::/64")
LL_ID = bytes.fromhex("020000000001")
NMAG = ContextData(1, IPv6Address("2001:db8:0:2::1").packed)
LINK_LOCAL = IPv6Address("fe80::200:5eff:fe00:5213")
NOON = 1_700_000_000 << 16  # 1,700,000,000 s in units of 1/65536 s

FULL_PBU = ProxyBindingUpdate(
    sequence=0x1234,
    lifetime=300,
    mn_id=MN1,
    hnps=(HNP,),
    handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
    access_technology=AccessTechnologyType.IEEE_802_11,
    mn_ll_id=bytes.fromhex("020000000001"),
    link_local=LINK_LOCAL,
    timestamp=Timestamp(NOON + 32768),
    alternate_coa=IPv6Address("2001:db8:0:1::1"),
)
FULL_PBA = ProxyBindingAck(
    status=Status.ACCEPTED,
    sequence=0x1234,
    lifetime=300,
    mn_id=MN1,
    hnps=(HNP, IPv6Network("2001:db8:1000:ff00::/56")),
    handoff_indicator=HandoffIndicator.NOT_CHANGED,
    access_technology=AccessTechnologyType.IEEE_802_16E,
    mn_ll_id=bytes.fromhex("020000fffe000001"),
    link_local=LINK_LOCAL,
    timestamp=Timestamp(NOON + 32768),
    refresh_advice=200,
)
FULL_CR = ContextReflection(
    sequence=0x1234,
    lifetime=10.0,
    acknowledge=True,
    mn_id=MN1,
    hnps=(HNP,),
    mn_ll_id=LL_ID,
    contexts=(NMAG, ContextData(0xFF00, bytes.fromhex("deadbeef"))),
)
FULL_BRI = BindingRevocationIndication(
    trigger=RevocationTrigger.HANDOVER_SAME_ACCESS, sequence=1, mn_id=MN1, hnps=(HNP,)
)
FULL_BRA = BindingRevocationAck(status=RevocationStatus.SUCCESS, sequence=1, mn_id=MN1, hnps=(HNP,))
_FAST = {
    "mn_id": MN1,
    "hnps": (HNP,),
    "access_technology": AccessTechnologyType.IEEE_802_11,
    "mn_ll_id": LL_ID,
}
FULL_FAST_PBU = FastProxyBindingUpdate(
    sequence=0x1234,
    lifetime=300,
    handoff_indicator=HandoffIndicator.UNKNOWN,
    timestamp=Timestamp(NOON + 32768),
    nmag=IPv6Address("2001:db8:0:2::1"),
    **_FAST,  # type: ignore[arg-type]
)
FULL_REVERSE_PBU = ReverseProxyBindingUpdate(
    sequence=0x1234,
    lifetime=300,
    handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
    timestamp=Timestamp(NOON + 32768),
    pmag=IPv6Address("2001:db8:0:1::1"),
    **_FAST,  # type: ignore[arg-type]
)
FULL_HI = HandoverInitiate(
    sequence=0x1234,
    flags=HandoverInitiateFlag.PROXY | HandoverInitiateFlag.FORWARDING,
    code=HandoverInitiateCode.ALL_CONTEXT_TRANSFERRED,
    mn_id=MN1,
    hnps=(HNP,),
    mn_ll_id=LL_ID,
    link_local=LINK_LOCAL,
    lma_addresses=(IPv6Address("2001:db8:0:ff::1"),),
    interface_id=bytes.fromhex("000000fffe000001"),
    contexts=(ContextData(0xFF00, bytes.fromhex("deadbeef")),),
)
FULL_HACK = HandoverAck(
    sequence=0x1234,
    flags=HandoverAckFlag.PROXY | HandoverAckFlag.FORWARDING,
    code=HandoverAckCode.ALL_CONTEXT_TRANSFERRED,
    mn_id=MN1,
    hnps=(HNP,),
    mn_ll_id=LL_ID,
    link_local=LINK_LOCAL,
    lma_addresses=(IPv6Address("2001:db8:0:ff::1"), IPv4Address("192.0.2.1")),
    interface_id=bytes.fromhex("000000fffe000001"),
    contexts=(ContextData(0xFF00, bytes.fromhex("deadbeef")),),
)
# Vectors that this program would write the same way.
VECTORS: dict[str, Message] = {
    "pbu-full": FULL_PBU,
    "pbu-initial": ProxyBindingUpdate(
        sequence=1,
        lifetime=14400,
        mn_id=MnId.nai("mn2@example.net"),
        hnps=(ALL_ZERO_PREFIX,),
        handoff_indicator=HandoffIndicator.NEW_INTERFACE,
        access_technology=AccessTechnologyType.VIRTUAL,
        mn_ll_id=bytes.fromhex("020000000002"),
        timestamp=Timestamp(NOON + 1),
    ),
    "pbu-dereg": ProxyBindingUpdate(
        sequence=0x8001,
        lifetime=0,
        mn_id=MnId(4, bytes.fromhex("c0000201")),
        hnps=(IPv6Network("2001:db8:1000:1::/64"), IPv6Network("2001:db8:1000:10::/60")),
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_3,
        timestamp=Timestamp(NOON + 65536 + 49152),
    ),
    "pbu-bare": ProxyBindingUpdate(sequence=1, lifetime=300),
    "pba-full": FULL_PBA,
    "pba-rejected": ProxyBindingAck(
        status=Status.MISSING_MN_IDENTIFIER_OPTION,
        sequence=1,
        lifetime=0,
        mn_id=MnId(1, b""),
        hnps=(ALL_ZERO_PREFIX,),
        handoff_indicator=HandoffIndicator.RESERVED,
        access_technology=AccessTechnologyType.RESERVED,
    ),
    "binding-error": BindingError(status=1, home_address=IPv6Address("2001:db8:1000::1")),
    "pbu-context": ProxyBindingUpdate(
        sequence=7,
        lifetime=0,
        flags=UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY | UpdateFlag.CONTEXT,
        mn_id=MN1,
        hnps=(HNP,),
        handoff_indicator=HandoffIndicator.UNKNOWN,
        access_technology=AccessTechnologyType.IEEE_802_11,
        timestamp=Timestamp(NOON + 32768),
        contexts=(
            NMAG,
            ContextData(3, bytes.fromhex("0007 004b 00006553f1008000 01 00")),
            ContextData(0xFF00, bytes(range(8))),
            ContextData(4, b""),
        ),
    ),
    "pba-context": ProxyBindingAck(
        status=Status.ACCEPTED,
        sequence=8,
        lifetime=300,
        flags=AckFlag.PROXY | AckFlag.CONTEXT,
        mn_id=MN1,
        hnps=(HNP,),
        handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
        access_technology=AccessTechnologyType.IEEE_802_11,
        contexts=(ContextData(0xFF01, bytes(number % 251 for number in range(300))),),
    ),
    "cr": FULL_CR,
    "cr-ack": ContextReflectionAck(
        status=Status.INSUFFICIENT_RESOURCES, sequence=0x1234, lifetime=0.1, mn_id=MN1, hnps=(HNP,), mn_ll_id=LL_ID
    ),
    "cc": ContextContinuation(
        sequence=0x1234,
        lifetime=6553.5,
        part=2,
        parts=3,
        mn_id=MN1,
        hnps=(HNP,),
        mn_ll_id=LL_ID,
        contexts=(ContextData(0xFF00, bytes((1, 2, 3))), ContextData(7, bytes((9,)))),
    ),
    "bri": FULL_BRI,
    "bri-global": BindingRevocationIndication(
        trigger=RevocationTrigger.PER_PEER_POLICY,
        sequence=0xFFFF,
        flags=RevocationFlag.PROXY | RevocationFlag.GLOBAL,
    ),
    "bri-alternate": replace(FULL_BRI, alternate_coa=IPv6Address("2001:db8:0:1::1")),
    "bra": FULL_BRA,
    "heartbeat-request": Heartbeat(sequence=0x01020304),
    "heartbeat-response": Heartbeat(sequence=0xFFFFFFFF, response=True, unsolicited=True, restart_counter=7),
    "fast-pbu": FULL_FAST_PBU,
    "fast-pba": FastProxyBindingAck(
        status=Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG,
        sequence=0x1234,
        lifetime=0,
        handoff_indicator=HandoffIndicator.UNKNOWN,
        **_FAST,  # type: ignore[arg-type]
    ),
    "reverse-pbu": FULL_REVERSE_PBU,
    "reverse-pba": ReverseProxyBindingAck(
        status=Status.ACCEPTED,
        sequence=0x1234,
        lifetime=300,
        handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
        **_FAST,  # type: ignore[arg-type]
    ),
    "hi": FULL_HI,
    "hi-request": HandoverInitiate(
        sequence=1,
        flags=HandoverInitiateFlag.PROXY | HandoverInitiateFlag.FORWARDING,
        mn_id=MN1,
        # The example of RFC 5949 section 6.2.1, with the vendor 32473 of RFC 5612 and sub-type 7.
        requests=(ContextRequest(22), ContextRequest(25), ContextRequest(19, bytes.fromhex("00007ed907"))),
    ),
    "hi-completed": HandoverInitiate(
        sequence=0xFFFF,
        flags=HandoverInitiateFlag.PROXY | HandoverInitiateFlag.FORWARDING,
        code=HandoverInitiateCode.FORWARDING_COMPLETED,
        mn_id=MN1,
    ),
    "hack": FULL_HACK,
    "hack-refused": HandoverAck(sequence=1, code=HandoverAckCode.CONTEXT_NOT_AVAILABLE, mn_id=MN1),
}
# Vectors that it only reads.
FOREIGN_VECTORS: dict[str, Message] = {
    "pbu-liberal": ProxyBindingUpdate(
        sequence=0xFFFF,
        lifetime=262_140,
        flags=UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY | UpdateFlag(0x0004),
        mn_id=MN1,
        hnps=(HNP, IPv6Network("2001:db8:1000:1::/64")),
        handoff_indicator=HandoffIndicator(6),
        access_technology=AccessTechnologyType(99),
        timestamp=Timestamp(NOON),
    ),
    "cr-liberal": ContextReflection(
        sequence=0xFFFF,
        lifetime=0.3,
        mn_id=MnId.nai("m"),
        contexts=(ContextData(0xFF01, b"ac"), ContextData(0xFF02, b"")),
    ),
    "bra-liberal": BindingRevocationAck(
        status=RevocationStatus.MN_IS_ATTACHED, sequence=0xFFFF, flags=RevocationFlag(0xFFFF), mn_id=MnId.nai("")
    ),
    "heartbeat-liberal": Heartbeat(sequence=1, response=True, restart_counter=0xFFFFFFFF),
}


def vector(name: str) -> bytes:
    """The octets of tests/vectors/NAME.hex: hexadecimal digits, spaces as one likes, `#` begins a comment."""
    lines = Path(__file__).with_name("vectors").joinpath(f"{name}.hex").read_text().splitlines()
    return bytes.fromhex(" ".join(line.partition("#")[0] for line in lines))
