"""Any message there can be, as hypothesis strategies."""

from ipaddress import IPv6Address, IPv6Network

from hypothesis import strategies as st

from common.mh.messages import (
    ALL_ZERO_PREFIX,
    MAX_HOME_NETWORK_PREFIXES,
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
    Feature,
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

_seconds = st.integers(0, 0xFFFF).map(lambda units: 4 * units)
_tenths = st.integers(0, 0xFFFF).map(lambda units: units / 10)
_octet = st.integers(0, 255)
_addresses = st.ip_addresses(v=6).map(lambda address: IPv6Address(int(address)))
_sequence = st.integers(0, 0xFFFF)
_ll_ids = st.none() | st.binary(min_size=1, max_size=253)


def _network(address: int, length: int) -> IPv6Network:
    network = address & ((1 << 128) - (1 << 128 - length))
    return IPv6Network((network, length)) if network else ALL_ZERO_PREFIX


def _mn_ids(octets: int) -> st.SearchStrategy[MnId | None]:
    """Identifiers of so many octets at least."""
    return st.none() | st.builds(MnId, _octet, st.binary(min_size=octets, max_size=254))


_networks = st.builds(_network, st.integers(0, (1 << 128) - 1), st.integers(0, 128))
_hnps = st.lists(_networks, max_size=3).map(tuple) | st.lists(_networks, max_size=MAX_HOME_NETWORK_PREFIXES).map(tuple)
_features = st.sampled_from(list(Feature)) | st.integers(1, 0xFFFE)
_data = st.binary(max_size=20) | st.integers(250, 260).map(bytes) | st.integers(500, 510).map(bytes)
contexts = st.dictionaries(_features, _data, max_size=5).map(
    lambda found: tuple(ContextData(feature, data) for feature, data in found.items())
)


def fits(message: Message) -> bool:
    """Not more than a Mobility Header holds, even with all the padding there can be."""
    octets = sum(len(context.data) + 8 for context in getattr(message, "contexts", ()))
    return octets == 0 or octets + 24 * len(getattr(message, "hnps", ())) < 1000


_shared: dict[str, st.SearchStrategy[object]] = {
    "sequence": _sequence,
    "lifetime": _seconds,
    "hnps": _hnps,
    "handoff_indicator": st.none() | _octet.map(HandoffIndicator),
    "access_technology": st.none() | _octet.map(AccessTechnologyType),
    "mn_ll_id": _ll_ids,
    "link_local": st.none() | _addresses,
    "timestamp": st.none() | st.integers(0, (1 << 64) - 1).map(Timestamp),
}
_reflected: dict[str, st.SearchStrategy[object]] = {
    "sequence": _sequence,
    "lifetime": _tenths,
    "hnps": _hnps,
    "mn_ll_id": _ll_ids,
}
_revoked: dict[str, st.SearchStrategy[object]] = {
    "sequence": _sequence,
    "flags": st.integers(0, 0xFFFF).map(RevocationFlag),
    "hnps": _hnps,
}
updates = st.builds(
    ProxyBindingUpdate,
    flags=st.integers(0, 0xFFFF).map(lambda bits: UpdateFlag(bits) | UpdateFlag.PROXY),
    mn_id=_mn_ids(1),
    alternate_coa=st.none() | _addresses,
    contexts=st.just(()) | contexts,
    **_shared,
).filter(fits)
acks = st.builds(
    ProxyBindingAck,
    status=_octet.map(Status),
    flags=st.integers(0, 0xFF).map(lambda bits: AckFlag(bits) | AckFlag.PROXY),
    mn_id=_mn_ids(0),
    refresh_advice=st.none() | _seconds,
    contexts=st.just(()) | contexts,
    **_shared,
).filter(fits)
_update_flags = st.integers(0, 0xFFFF).map(lambda bits: UpdateFlag(bits) | UpdateFlag.PROXY)
_ack_flags = st.integers(0, 0xFF).map(lambda bits: AckFlag(bits) | AckFlag.PROXY)
fast_handover = st.one_of(
    st.builds(FastProxyBindingUpdate, flags=_update_flags, mn_id=_mn_ids(1), nmag=st.none() | _addresses, **_shared),
    st.builds(ReverseProxyBindingUpdate, flags=_update_flags, mn_id=_mn_ids(1), pmag=st.none() | _addresses, **_shared),
    *(
        st.builds(ack, status=_octet.map(Status), flags=_ack_flags, mn_id=_mn_ids(0), **_shared)
        for ack in (FastProxyBindingAck, ReverseProxyBindingAck)
    ),
)
errors = st.builds(BindingError, status=_octet, home_address=_addresses)
reflections = st.builds(
    ContextReflection, acknowledge=st.booleans(), mn_id=_mn_ids(1), contexts=contexts, **_reflected
).filter(fits)
reflection_acks = st.builds(ContextReflectionAck, status=_octet.map(Status), mn_id=_mn_ids(0), **_reflected)
_parts = st.integers(2, 255).flatmap(lambda parts: st.tuples(st.integers(1, parts - 1), st.just(parts)))
continuations = st.builds(
    lambda part, **fields: ContextContinuation(part=part[0], parts=part[1], **fields),
    part=_parts,
    mn_id=_mn_ids(1),
    contexts=contexts,
    **_reflected,
).filter(fits)
indications = st.builds(
    BindingRevocationIndication,
    trigger=_octet.map(RevocationTrigger),
    mn_id=_mn_ids(1),
    alternate_coa=st.none() | _addresses,
    **_revoked,
)
revocation_acks = st.builds(BindingRevocationAck, status=_octet.map(RevocationStatus), mn_id=_mn_ids(0), **_revoked)
_word = st.integers(0, 0xFFFFFFFF)
heartbeats = st.builds(
    Heartbeat,
    sequence=_word,
    response=st.booleans(),
    unsolicited=st.booleans(),
    restart_counter=st.none() | _word,
)
_handed: dict[str, st.SearchStrategy[object]] = {
    "sequence": _sequence,
    "hnps": st.lists(_networks, max_size=3).map(tuple),
    "mn_ll_id": _ll_ids,
    "link_local": st.none() | _addresses,
    "lma_addresses": st.lists(st.ip_addresses(), max_size=2).map(tuple),
    "interface_id": st.none() | st.binary(min_size=8, max_size=8),
    "contexts": st.just(()) | contexts,
}
_requests = st.lists(st.builds(ContextRequest, _octet, st.binary(max_size=20)), max_size=4).map(tuple)
initiates = st.builds(
    HandoverInitiate,
    flags=_octet.map(lambda bits: HandoverInitiateFlag(bits) | HandoverInitiateFlag.PROXY),
    code=_octet.map(HandoverInitiateCode),
    mn_id=_mn_ids(1),
    requests=st.none() | _requests,
    **_handed,
).filter(fits)
handover_acks = st.builds(
    HandoverAck,
    flags=_octet.map(lambda bits: HandoverAckFlag(bits) | HandoverAckFlag.PROXY),
    code=_octet.map(HandoverAckCode),
    mn_id=_mn_ids(0),
    **_handed,
).filter(fits)
messages = (
    updates
    | acks
    | errors
    | reflections
    | reflection_acks
    | continuations
    | indications
    | revocation_acks
    | heartbeats
    | fast_handover
    | initiates
    | handover_acks
)
