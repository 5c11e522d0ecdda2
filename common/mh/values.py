"""The values in the messages of the mobility protocol: enums, flags, identifiers, timestamps.

Sources: RFC 6275 section 6.1, RFC 5213 section 8, RFC 4283 (MN-ID), docs/protocol.md (Context Reflector).
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv6Address, IPv6Network
from typing import ClassVar, Self

from common.mh import code_points

ALL_ZERO_PREFIX = IPv6Network("::/0")  # RFC 5213 8.3: "allocate one for me"
ALL_ZERO_ADDRESS = IPv6Address("::")
# The RFC has no limit. This one makes sure that the answer to any message, which repeats all of its options and aligns
# them, fits into a Mobility Header.
MAX_HOME_NETWORK_PREFIXES = 32


class Octet(IntEnum):
    """A registry of one octet. A number without a name here is kept, as a member called UNNAMED_n of that class.

    So what a peer newer than this program says is neither lost nor an error: `Status(174)` is a Status, is 174.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not (isinstance(value, int) and 0 <= value <= 255):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"UNNAMED_{value}", value
        return member


class Status(Octet):
    """Status codes of a Proxy Binding Acknowledgement (RFC 5213 section 8.9, RFC 6275 section 6.1.8)."""

    ACCEPTED = 0
    ACCEPTED_PREFIX_DISCOVERY_NECESSARY = 1
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INSUFFICIENT_RESOURCES = 130
    SEQUENCE_OUT_OF_WINDOW = 135
    PROXY_REG_NOT_ENABLED = 152
    NOT_LMA_FOR_THIS_MOBILE_NODE = 153
    MAG_NOT_AUTHORIZED_FOR_PROXY_REG = 154
    NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX = 155
    TIMESTAMP_MISMATCH = 156
    TIMESTAMP_LOWER_THAN_PREV_ACCEPTED = 157
    MISSING_HOME_NETWORK_PREFIX_OPTION = 158
    BCE_PBU_PREFIX_SET_DO_NOT_MATCH = 159
    MISSING_MN_IDENTIFIER_OPTION = 160
    MISSING_HANDOFF_INDICATOR_OPTION = 161
    MISSING_ACCESS_TECH_TYPE_OPTION = 162


class HandoffIndicator(Octet):
    """RFC 5213 section 8.4."""

    RESERVED = 0
    NEW_INTERFACE = 1
    BETWEEN_INTERFACES = 2
    BETWEEN_MAGS = 3
    UNKNOWN = 4
    NOT_CHANGED = 5
    NEW_INTERFACE_SHARING_PREFIXES = 6  # RFC 7864


class AccessTechnologyType(Octet):
    """RFC 5213 section 8.5 and the IANA registry."""

    RESERVED = 0
    VIRTUAL = 1
    PPP = 2
    IEEE_802_3 = 3
    IEEE_802_11 = 4
    IEEE_802_16E = 5
    GERAN = 6
    UTRAN = 7
    E_UTRAN = 8
    EHRPD = 9
    HRPD = 10
    CDMA_1XRTT = 11
    UMB = 12
    NB_IOT = 13


class UpdateFlag(IntFlag):
    """Flags of a Binding Update (RFC 6275 section 6.1.7, RFC 5213 section 8.1, IANA); no bit is lost."""

    ACKNOWLEDGE = 0x8000
    HOME_REGISTRATION = 0x4000
    LINK_LOCAL = 0x2000
    KEY_MANAGEMENT = 0x1000
    MAP = 0x0800
    MOBILE_ROUTER = 0x0400
    PROXY = 0x0200
    FORCE_UDP = 0x0100
    TLV_HEADER = 0x0080
    BULK = 0x0040
    MULTICAST_SUBSCRIPTION = 0x0020
    DISTRIBUTED = 0x0010
    CONTEXT = code_points.DEFAULT.update_flag  # Context Reflector; unassigned at IANA


class AckFlag(IntFlag):
    """Flags of a Binding Acknowledgement (RFC 6275 section 6.1.8, RFC 5213 section 8.2, IANA); no bit is lost."""

    KEY_MANAGEMENT = 0x80
    MOBILE_ROUTER = 0x40
    PROXY = 0x20
    TLV_HEADER = 0x10
    BULK = 0x08
    MULTICAST_SUBSCRIPTION = 0x04
    DISTRIBUTED = 0x02
    CONTEXT = code_points.DEFAULT.ack_flag  # Context Reflector; unassigned at IANA


@dataclass(frozen=True, slots=True)
class MnId:
    """Mobile Node Identifier (RFC 4283): a subtype (1 is a NAI) and the identifier's octets."""

    subtype: int
    value: bytes

    @classmethod
    def nai(cls, text: str) -> Self:
        return cls(1, text.encode())

    def __str__(self) -> str:
        text = self.value.decode("utf-8", "replace") if self.subtype == 1 else ""
        return text if text.isprintable() and text else f"{self.subtype}:{self.value.hex()}"


class Timestamp(int):
    """RFC 5213 section 8.8: a moment in 1/65536 s since 1970 UTC, 64 bits."""

    TICKS_PER_SECOND: ClassVar[int] = 65536

    @classmethod
    def from_utc(cls, seconds: float) -> Self:
        return cls(int(seconds * cls.TICKS_PER_SECOND))

    @property
    def utc(self) -> float:
        """Seconds since 1970 UTC."""
        return self / self.TICKS_PER_SECOND


class Feature(IntEnum):
    """Feature Profile Types of context data (paper section 3.5.2); 0xFF00 to 0xFFFE are for local use, opaque."""

    NMAG_ADDRESS = 1
    POLICY_PROFILE = 2
    BINDING_STATE = 3
    AAA = 4
    QOS = 5
    ROHC = 6
    ACCOUNTING = 7
    FIRST_LOCAL = 0xFF00
    LAST_LOCAL = 0xFFFE


@dataclass(frozen=True, slots=True)
class ContextData:
    """One feature's context. What exceeds 253 octets is split into several options on the wire and joined again."""

    feature: int
    data: bytes
