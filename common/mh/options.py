"""The mobility options: which field of a message each carries, and how its value is converted.

`MnId`, `IPv6Network` and so on on one side, the varying fields of the scapy layer on the other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from scapy.layers.inet6 import MIP6OptAltCoA, MIP6OptBRAdvice, MIP6OptMNID

from common.errors import MalformedMessage
from common.mh.context_reflection import MIP6OptContextData
from common.mh.handover_initiate import MIP6OptContextRequest, MIP6OptInterfaceId, MIP6OptLMAAddress
from common.mh.heartbeat import MIP6OptRestartCounter
from common.mh.layers import (
    MIP6OptAccessTechnologyType,
    MIP6OptHandoffIndicator,
    MIP6OptHomeNetworkPrefix,
    MIP6OptLinkLocalAddress,
    MIP6OptMNLinkLayerIdentifier,
    MIP6OptTimestamp,
)
from common.mh.layout import PADDING, OptionLayout
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    MAX_HOME_NETWORK_PREFIXES,
    AccessTechnologyType,
    ContextData,
    ContextRequest,
    HandoffIndicator,
    MnId,
    Timestamp,
)

MAX_OCTETS = 8 * 256  # of a message: Header Len is one octet
_PAD1 = 0
_PREFIX_MASKS = [(1 << 128) - (1 << 128 - length) for length in range(129)]
SECONDS_PER_UNIT = 4  # RFC 6275 sections 6.1.7, 6.1.8 and 6.2.4
MAX_CONTEXT_OPTION = 253  # octets of data beside the Feature Profile Type
CONTEXT_OPTION_HEADER = 4  # octets: type, length, Feature Profile Type
_RESERVED_FEATURES = (0, 0xFFFF)


@dataclass(frozen=True, slots=True)
class Option:
    """`attribute` of a message; `to_fields` gives the layer's varying fields, `from_fields` takes them.

    `from_fields` raises MalformedMessage for what is no value. Of an option that may be there more than once the
    attribute is a tuple; `split` makes of it what one option can say each, `join` the reverse.
    """

    attribute: str
    layout: OptionLayout
    to_fields: Callable[[Any], tuple[Any, ...]]
    from_fields: Callable[..., Any]
    at_most: int = 1
    split: Callable[[tuple[Any, ...]], Iterable[Any]] = tuple
    join: Callable[[list[Any]], tuple[Any, ...]] = tuple


def units(seconds: int) -> int:
    """Seconds as the wire counts them; ValueError if it cannot say that."""
    count, rest = divmod(seconds, SECONDS_PER_UNIT)
    if rest:
        raise ValueError(f"{seconds} s is not a multiple of {SECONDS_PER_UNIT} s")
    return count


def seconds(count: int) -> int:
    return count * SECONDS_PER_UNIT


def _home_network_prefix(length: int, octets: bytes) -> IPv6Network:
    """RFC 5213 section 8.3, where bits behind the prefix length are not mentioned.

    They are no part of the prefix: ignored, as RFC 4861 section 4.6.2 has it for the same pair of fields, so that two
    MAGs that fill them differently mean the same prefix. ALL_ZERO is said of the sixteen octets (section 2.2), whatever
    the length beside them. A prefix that is not ALL_ZERO but would become it by its length asks for nothing that can
    be granted, least of all for "any prefix".
    """
    if length > 128:
        raise MalformedMessage("bad-prefix-length", str(length))
    address = int.from_bytes(octets)
    if not address:
        return ALL_ZERO_PREFIX
    network = address & _PREFIX_MASKS[length]
    if not network:
        raise MalformedMessage("bad-prefix-length", f"{length} of {IPv6Address(address)}")
    return IPv6Network((network, length))


def _mn_id(subtype: int, value: bytes) -> MnId:
    if not value:
        raise MalformedMessage("empty-mn-id")
    return MnId(subtype, value)


def _mn_ll_id(octets: bytes) -> bytes:
    if not octets:
        raise MalformedMessage("bad-option-length", "mn_ll_id")
    return octets


def _lma_address(code: int, octets: bytes) -> IPv6Address | IPv4Address:
    match code, len(octets):
        case 1, 16:
            return IPv6Address(octets)
        case 2, 4:
            return IPv4Address(octets)
    raise MalformedMessage("bad-lma-address", f"code {code}, {len(octets)} octets")


def _requests(octets: bytes) -> tuple[ContextRequest, ...]:
    found = []
    while octets:
        if len(octets) < 2 or len(octets) < 2 + octets[1]:
            raise MalformedMessage("bad-context-request")
        found.append(ContextRequest(octets[0], octets[2 : 2 + octets[1]]))
        octets = octets[2 + octets[1] :]
    return tuple(found)


def _split(contexts: tuple[ContextData, ...]) -> Iterable[ContextData]:
    """The options of these features, each feature's one after the other; one of no data has an option, too."""
    seen: set[int] = set()
    for context in contexts:
        if context.feature in seen or context.feature in _RESERVED_FEATURES:
            raise ValueError(f"feature {context.feature} is {'there twice' if context.feature in seen else 'reserved'}")
        seen.add(context.feature)
        for start in range(0, len(context.data) or 1, MAX_CONTEXT_OPTION):
            yield ContextData(context.feature, context.data[start : start + MAX_CONTEXT_OPTION])


def _join(options: list[ContextData]) -> tuple[ContextData, ...]:
    """The features of these options; what has a reserved number is skipped, as an option is that nobody knows."""
    found: dict[int, list[bytes]] = {}
    for option in options:
        if option.feature not in _RESERVED_FEATURES:
            found.setdefault(option.feature, []).append(option.data)
    return tuple(ContextData(feature, b"".join(data)) for feature, data in found.items())


MN_ID = Option(
    "mn_id",
    OptionLayout(MIP6OptMNID, "subtype", "id"),
    to_fields=lambda mn_id: (mn_id.subtype, mn_id.value),
    from_fields=_mn_id,
)
# In an answer it may be empty: so is answered what had none (RFC 5213 section 5.3.6).
REPEATED_MN_ID = replace(MN_ID, from_fields=MnId)
HOME_NETWORK_PREFIX = Option(
    "hnps",
    OptionLayout(MIP6OptHomeNetworkPrefix, "plen", "prefix"),
    to_fields=lambda hnp: (hnp.prefixlen, hnp.network_address.packed),
    from_fields=_home_network_prefix,
    at_most=MAX_HOME_NETWORK_PREFIXES,
)
HANDOFF_INDICATOR = Option(
    "handoff_indicator",
    OptionLayout(MIP6OptHandoffIndicator, "hi"),
    to_fields=lambda value: (value,),
    from_fields=HandoffIndicator,
)
ACCESS_TECHNOLOGY_TYPE = Option(
    "access_technology",
    OptionLayout(MIP6OptAccessTechnologyType, "att"),
    to_fields=lambda value: (value,),
    from_fields=AccessTechnologyType,
)
MN_LINK_LAYER_IDENTIFIER = Option(
    "mn_ll_id",
    OptionLayout(MIP6OptMNLinkLayerIdentifier, "lla"),
    to_fields=lambda octets: (octets,),
    from_fields=_mn_ll_id,
)
LINK_LOCAL_ADDRESS = Option(
    "link_local",
    OptionLayout(MIP6OptLinkLocalAddress, "address"),
    to_fields=lambda address: (address.packed,),
    from_fields=IPv6Address,
)
TIMESTAMP = Option(
    "timestamp",
    OptionLayout(MIP6OptTimestamp, "timestamp"),
    to_fields=lambda ticks: (ticks,),
    from_fields=Timestamp,
)
ALTERNATE_CARE_OF_ADDRESS = Option(
    "alternate_coa",
    OptionLayout(MIP6OptAltCoA, "acoa"),
    to_fields=lambda address: (address.packed,),
    from_fields=IPv6Address,
)
BINDING_REFRESH_ADVICE = Option(
    "refresh_advice",
    OptionLayout(MIP6OptBRAdvice, "rinter"),
    to_fields=lambda interval: (units(interval),),
    from_fields=seconds,
)
RESTART_COUNTER = Option(
    "restart_counter",
    OptionLayout(MIP6OptRestartCounter, "counter"),
    to_fields=lambda counter: (counter,),
    from_fields=int,
)
LMA_ADDRESS = Option(
    "lma_addresses",
    OptionLayout(MIP6OptLMAAddress, "code", "address"),
    to_fields=lambda address: (1 if address.version == 6 else 2, address.packed),
    from_fields=_lma_address,
    at_most=2,
)
INTERFACE_ID = Option(
    "interface_id",
    OptionLayout(MIP6OptInterfaceId, "iid"),
    to_fields=lambda octets: (int.from_bytes(octets),),
    from_fields=lambda number: number.to_bytes(8),
)
CONTEXT_REQUEST = Option(
    "requests",
    OptionLayout(MIP6OptContextRequest, "requests"),
    to_fields=lambda requests: (b"".join(bytes((one.option, len(one.data))) + one.data for one in requests),),
    from_fields=_requests,
)


def context_data(option_type: int) -> Option:
    """The option that carries a feature's context, under this number."""
    return Option(
        "contexts",
        OptionLayout(MIP6OptContextData, "ftp", "data", otype=option_type),
        to_fields=lambda context: (context.feature, context.data),
        from_fields=ContextData,
        at_most=MAX_OCTETS // CONTEXT_OPTION_HEADER,
        split=_split,
        join=_join,
    )


def by_type(options: Iterable[Option]) -> dict[int, Option]:
    """The options that a message may carry, for `decode`; in this order they are sent."""
    return {option.layout.first: option for option in options}


def encode(message: object, known: dict[int, Option], start: int) -> bytes:
    """The options area of a message whose fixed part has `start` octets, padded to a multiple of 8 in all."""
    octets = b""
    for option in known.values():
        value = getattr(message, option.attribute)
        if value is None:
            continue
        for item in (value,) if option.at_most == 1 else option.split(value):
            octets += option.layout.build(start + len(octets), option.to_fields(item))
    return octets + PADDING[-(start + len(octets)) % 8]


def decode(data: bytes, start: int, known: dict[int, Option], found: dict[str, Any]) -> dict[str, Any]:
    """`found` and to it, by attribute, the values of the options in data[start:].

    Skipped are options that are not `known`, be it that nobody knows them or that they have no meaning in this message
    (RFC 6275 section 6.2.1), and padding, whatever it holds (section 6.2.3); alignment is the sender's duty. Reasons:
    option-overrun, bad-option-length, bad-prefix-length, duplicate-option, too-many-options, empty-mn-id,
    bad-lma-address, bad-context-request.
    """
    several: list[Option] = []
    end = len(data)
    while start < end:
        option_type = data[start]
        if option_type == _PAD1:
            start += 1
            continue
        if start + 2 > end or (after := start + 2 + data[start + 1]) > end:
            raise MalformedMessage("option-overrun", f"option {option_type} at octet {start}")
        if option := known.get(option_type):
            attribute = option.attribute
            fields = option.layout.read(data, start, after)
            if fields is None:
                raise MalformedMessage("bad-option-length", attribute)
            value = option.from_fields(*fields)
            if attribute not in found:
                if option.at_most > 1:
                    several.append(option)
                    value = [value]
                found[attribute] = value
            elif option.at_most == 1:  # RFC 5213 8.1, 8.2: "there cannot be more than one instance"
                raise MalformedMessage("duplicate-option", attribute)
            elif len(found[attribute]) == option.at_most:
                raise MalformedMessage("too-many-options", f"{attribute}, more than {option.at_most}")
            else:
                found[attribute].append(value)
        start = after
    for option in several:
        found[option.attribute] = option.join(found[option.attribute])
    return found
