"""What the tests of the wire format share: the vectors and their meaning, hypothesis strategies, scapy's own view."""

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from hypothesis import strategies as st
from scapy.layers.inet6 import MIP6MH_BE, MIP6OptAltCoA, MIP6OptBRAdvice, MIP6OptMNID
from scapy.packet import Packet

from common.mh import layers
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    AckFlag,
    BindingError,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
    UpdateFlag,
)
from common.mh.options import MAX_HOME_NETWORK_PREFIXES

MN1 = MnId.nai("mn1@example.net")
HNP = IPv6Network("2001:db8:1000::/64")
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
}


def vector(name: str) -> bytes:
    """The octets of tests/vectors/NAME.hex: hexadecimal digits, spaces as one likes, `#` begins a comment."""
    lines = Path(__file__).with_name("vectors").joinpath(f"{name}.hex").read_text().splitlines()
    return bytes.fromhex(" ".join(line.partition("#")[0] for line in lines))


_seconds = st.integers(0, 0xFFFF).map(lambda units: 4 * units)
_addresses = st.ip_addresses(v=6).map(lambda address: IPv6Address(int(address)))


def _network(address: int, length: int) -> IPv6Network:
    network = address & ((1 << 128) - (1 << 128 - length))
    return IPv6Network((network, length)) if network else ALL_ZERO_PREFIX


def _options(mn_id_octets: int) -> dict[str, st.SearchStrategy[object]]:
    """Strategies for the fields that a PBU and a PBA share; `mn_id_octets` is the least an MN-ID may have."""
    octet = st.integers(0, 255)
    networks = st.builds(_network, st.integers(0, (1 << 128) - 1), st.integers(0, 128))
    return {
        "sequence": st.integers(0, 0xFFFF),
        "lifetime": _seconds,
        "mn_id": st.none() | st.builds(MnId, octet, st.binary(min_size=mn_id_octets, max_size=254)),
        "hnps": st.lists(networks, max_size=3).map(tuple)
        | st.lists(networks, max_size=MAX_HOME_NETWORK_PREFIXES).map(tuple),
        "handoff_indicator": st.none() | octet.map(HandoffIndicator),
        "access_technology": st.none() | octet.map(AccessTechnologyType),
        "mn_ll_id": st.none() | st.binary(min_size=1, max_size=253),
        "link_local": st.none() | _addresses,
        "timestamp": st.none() | st.integers(0, (1 << 64) - 1).map(Timestamp),
    }


updates = st.builds(
    ProxyBindingUpdate,
    flags=st.integers(0, 0xFFFF).map(lambda bits: UpdateFlag(bits) | UpdateFlag.PROXY),
    alternate_coa=st.none() | _addresses,
    **_options(mn_id_octets=1),
)
acks = st.builds(
    ProxyBindingAck,
    status=st.integers(0, 255).map(Status),
    flags=st.integers(0, 0xFF).map(lambda bits: AckFlag(bits) | AckFlag.PROXY),
    refresh_advice=st.none() | _seconds,
    **_options(mn_id_octets=0),
)
errors = st.builds(BindingError, status=st.integers(0, 255), home_address=_addresses)
messages = updates | acks | errors


def in_scapy(message: Message) -> Packet:
    """The same message told to scapy by hand, without any help of the codec; the checksum is 0."""
    match message:
        case ProxyBindingUpdate():
            options = _options_in_scapy(message)
            if message.alternate_coa is not None:
                options.append(MIP6OptAltCoA(acoa=str(message.alternate_coa)))
            return layers.MIP6MH_PBU(
                cksum=0,
                seq=message.sequence,
                flags=int(message.flags),
                mhtime=message.lifetime // 4,
                options=options,
            )
        case ProxyBindingAck():
            options = _options_in_scapy(message)
            if message.refresh_advice is not None:
                options.append(MIP6OptBRAdvice(rinter=message.refresh_advice // 4))
            return layers.MIP6MH_PBA(
                cksum=0,
                status=int(message.status),
                flags=int(message.flags),
                seq=message.sequence,
                mhtime=message.lifetime // 4,
                options=options,
            )
        case BindingError():
            return MIP6MH_BE(cksum=0, status=message.status, ha=str(message.home_address))


def _options_in_scapy(message: ProxyBindingUpdate | ProxyBindingAck) -> list[Packet]:
    found: list[Packet] = []
    if message.mn_id is not None:
        found.append(MIP6OptMNID(subtype=message.mn_id.subtype, id=message.mn_id.value))
    for hnp in message.hnps:
        found.append(layers.MIP6OptHomeNetworkPrefix(plen=hnp.prefixlen, prefix=str(hnp.network_address)))
    if message.handoff_indicator is not None:
        found.append(layers.MIP6OptHandoffIndicator(hi=int(message.handoff_indicator)))
    if message.access_technology is not None:
        found.append(layers.MIP6OptAccessTechnologyType(att=int(message.access_technology)))
    if message.mn_ll_id is not None:
        found.append(layers.MIP6OptMNLinkLayerIdentifier(lla=message.mn_ll_id))
    if message.link_local is not None:
        found.append(layers.MIP6OptLinkLocalAddress(address=str(message.link_local)))
    if message.timestamp is not None:
        found.append(layers.MIP6OptTimestamp(timestamp=int(message.timestamp)))
    return found
