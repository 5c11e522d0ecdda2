"""A message told to scapy by hand, without any help of the codec."""

from typing import Any

from scapy.layers.inet6 import MIP6MH_BE, MIP6OptAltCoA, MIP6OptBRAdvice, MIP6OptMNID
from scapy.packet import Packet

from common.mh import layers
from common.mh.context_reflection import MIP6MH_CC, MIP6MH_CR, MIP6MH_CRAck, MIP6OptContextData
from common.mh.fast_handover import MIP6MH_FastPBA, MIP6MH_FastPBU, MIP6MH_ReversePBA, MIP6MH_ReversePBU
from common.mh.handover_initiate import (
    MIP6MH_HI,
    MIP6MH_HAck,
    MIP6OptContextRequest,
    MIP6OptInterfaceId,
    MIP6OptLMAAddress,
)
from common.mh.heartbeat import MIP6MH_HB, MIP6OptRestartCounter
from common.mh.messages import (
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextContinuation,
    ContextReflection,
    ContextReflectionAck,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoverAck,
    HandoverInitiate,
    Heartbeat,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
)
from common.mh.revocation import MIP6MH_BRA, MIP6MH_BRI

_FAST: dict[type, type[Packet]] = {
    FastProxyBindingUpdate: MIP6MH_FastPBU,
    FastProxyBindingAck: MIP6MH_FastPBA,
    ReverseProxyBindingUpdate: MIP6MH_ReversePBU,
    ReverseProxyBindingAck: MIP6MH_ReversePBA,
}


def in_scapy(message: Message) -> Packet:
    """The packet; its checksum is 0."""
    fields: dict[str, Any]
    layer: type[Packet]
    match message:
        case ProxyBindingUpdate():
            layer, fields = layers.MIP6MH_PBU, {"flags": int(message.flags), "mhtime": message.lifetime // 4}
        case ProxyBindingAck():
            layer, fields = layers.MIP6MH_PBA, {"flags": int(message.flags), "mhtime": message.lifetime // 4}
        case BindingError():
            return MIP6MH_BE(cksum=0, status=message.status, ha=str(message.home_address))
        case ContextReflection():
            flags = "A" if message.acknowledge else 0
            layer, fields = MIP6MH_CR, {"flags": flags, "mhtime": round(message.lifetime * 10)}
        case ContextReflectionAck():
            layer, fields = MIP6MH_CRAck, {"mhtime": round(message.lifetime * 10)}
        case ContextContinuation():
            layer, fields = MIP6MH_CC, {"mhtime": round(message.lifetime * 10)}
            fields |= {"part": message.part, "parts": message.parts}
        case BindingRevocationIndication():
            layer, fields = MIP6MH_BRI, {"trigger": int(message.trigger), "flags": int(message.flags)}
        case BindingRevocationAck():
            layer, fields = MIP6MH_BRA, {"flags": int(message.flags)}
        case Heartbeat():
            flags = "+".join("R" * message.response + "U" * message.unsolicited)
            layer, fields = MIP6MH_HB, {"flags": flags}
        case HandoverInitiate() | HandoverAck():
            layer = MIP6MH_HI if isinstance(message, HandoverInitiate) else MIP6MH_HAck
            fields = {"flags": int(message.flags), "code": int(message.code)}
        case _:
            layer, fields = _FAST[type(message)], {"flags": int(message.flags), "mhtime": message.lifetime // 4}
    if hasattr(message, "status"):
        fields["status"] = int(message.status)
    return layer(cksum=0, seq=message.sequence, options=_options(message), **fields)


def _options(message: Message) -> list[Packet]:
    found: list[Packet] = []
    match message:
        case BindingError():
            return found
        case Heartbeat():
            counter = message.restart_counter
            return [] if counter is None else [MIP6OptRestartCounter(counter=counter)]
        case ProxyBindingUpdate() | ProxyBindingAck():
            found += _identity(message) + _registration(message)
        case FastProxyBindingUpdate() | FastProxyBindingAck() | ReverseProxyBindingUpdate() | ReverseProxyBindingAck():
            found += _identity(message) + _registration(message)
        case ContextReflection() | ContextReflectionAck() | ContextContinuation():
            found += _identity(message) + _link_layer(message.mn_ll_id)
        case BindingRevocationIndication() | BindingRevocationAck():
            found += _identity(message)
        case HandoverInitiate() | HandoverAck():
            found += _identity(message) + _link_layer(message.mn_ll_id) + _handed_over(message)
    for attribute in ("alternate_coa", "nmag", "pmag"):
        if (address := getattr(message, attribute, None)) is not None:
            found.append(MIP6OptAltCoA(acoa=str(address)))
    if isinstance(message, ProxyBindingAck) and message.refresh_advice is not None:
        found.append(MIP6OptBRAdvice(rinter=message.refresh_advice // 4))
    for context in getattr(message, "contexts", ()):
        rest = context.data
        found.append(MIP6OptContextData(ftp=context.feature, data=rest[:253]))
        while rest := rest[253:]:
            found.append(MIP6OptContextData(ftp=context.feature, data=rest[:253]))
    return found


def _identity(message: Message) -> list[Packet]:
    assert not isinstance(message, BindingError | Heartbeat)
    found: list[Packet] = []
    if message.mn_id is not None:
        found.append(MIP6OptMNID(subtype=message.mn_id.subtype, id=message.mn_id.value))
    for hnp in message.hnps:
        found.append(layers.MIP6OptHomeNetworkPrefix(plen=hnp.prefixlen, prefix=str(hnp.network_address)))
    return found


def _link_layer(mn_ll_id: bytes | None) -> list[Packet]:
    return [] if mn_ll_id is None else [layers.MIP6OptMNLinkLayerIdentifier(lla=mn_ll_id)]


Registration = (
    ProxyBindingUpdate
    | ProxyBindingAck
    | FastProxyBindingUpdate
    | FastProxyBindingAck
    | ReverseProxyBindingUpdate
    | ReverseProxyBindingAck
)


def _handed_over(message: HandoverInitiate | HandoverAck) -> list[Packet]:
    found: list[Packet] = []
    if message.link_local is not None:
        found.append(layers.MIP6OptLinkLocalAddress(address=str(message.link_local)))
    for address in message.lma_addresses:
        found.append(MIP6OptLMAAddress(code={6: 1, 4: 2}[address.version], address=address.packed))
    if message.interface_id is not None:
        found.append(MIP6OptInterfaceId(iid=int.from_bytes(message.interface_id)))
    if isinstance(message, HandoverInitiate) and message.requests is not None:
        parts = (bytes((one.option, len(one.data))) + one.data for one in message.requests)
        found.append(MIP6OptContextRequest(requests=b"".join(parts)))
    return found


def _registration(message: Registration) -> list[Packet]:
    found: list[Packet] = []
    if message.handoff_indicator is not None:
        found.append(layers.MIP6OptHandoffIndicator(hi=int(message.handoff_indicator)))
    if message.access_technology is not None:
        found.append(layers.MIP6OptAccessTechnologyType(att=int(message.access_technology)))
    found += _link_layer(message.mn_ll_id)
    if message.link_local is not None:
        found.append(layers.MIP6OptLinkLocalAddress(address=str(message.link_local)))
    if message.timestamp is not None:
        found.append(layers.MIP6OptTimestamp(timestamp=int(message.timestamp)))
    return found
