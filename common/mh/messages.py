"""The messages of the mobility protocol as the cores see them: frozen values, seconds, enums, addresses.

The octets are defined in `layers.py` (scapy) and converted by `codec.py`; nothing here knows them.
Sources: RFC 6275 section 6.1 (messages), RFC 5213 section 8 (options), RFC 4283 (MN-ID), RFC 5846 section 5
(revocation), RFC 5847 section 3.3 (heartbeat), docs/protocol.md (Context Reflector).
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv6Address, IPv6Network
from typing import ClassVar, Self

from common.mh import code_points

ALL_ZERO_PREFIX = IPv6Network("::/0")  # RFC 5213 8.3: "allocate one for me"
ALL_ZERO_ADDRESS = IPv6Address("::")


class _Octet(IntEnum):
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


class Status(_Octet):
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


class HandoffIndicator(_Octet):
    """RFC 5213 section 8.4."""

    RESERVED = 0
    NEW_INTERFACE = 1
    BETWEEN_INTERFACES = 2
    BETWEEN_MAGS = 3
    UNKNOWN = 4
    NOT_CHANGED = 5
    NEW_INTERFACE_SHARING_PREFIXES = 6  # RFC 7864


class AccessTechnologyType(_Octet):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyBindingUpdate:
    """PBU (RFC 5213 section 8.1). `lifetime` in seconds, a multiple of 4; 0 asks for de-registration."""

    sequence: int
    lifetime: int
    flags: UpdateFlag = UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    handoff_indicator: HandoffIndicator | None = None
    access_technology: AccessTechnologyType | None = None
    mn_ll_id: bytes | None = None
    link_local: IPv6Address | None = None
    timestamp: Timestamp | None = None
    alternate_coa: IPv6Address | None = None
    contexts: tuple[ContextData, ...] = ()

    @property
    def name(self) -> str:
        return "PBU" if self.lifetime else "PBU-dereg"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyBindingAck:
    """PBA (RFC 5213 section 8.2). `lifetime` and `refresh_advice` in seconds, multiples of 4."""

    status: Status
    sequence: int
    lifetime: int
    flags: AckFlag = AckFlag.PROXY
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    handoff_indicator: HandoffIndicator | None = None
    access_technology: AccessTechnologyType | None = None
    mn_ll_id: bytes | None = None
    link_local: IPv6Address | None = None
    timestamp: Timestamp | None = None
    refresh_advice: int | None = None
    contexts: tuple[ContextData, ...] = ()

    @property
    def name(self) -> str:
        return "PBA"


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingError:
    """Binding Error (RFC 6275 section 6.1.9): status 1 unknown binding, 2 unrecognized MH type."""

    status: int
    home_address: IPv6Address = ALL_ZERO_ADDRESS

    @property
    def name(self) -> str:
        return "BE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextReflection:
    """CR (paper section 3.5.1): MH type 11, subtype 1. `lifetime` of the context in seconds, a multiple of 0.1.

    `sequence` is that of the PBU which carried the context; with `acknowledge` the receiver answers.
    """

    sequence: int
    lifetime: float
    acknowledge: bool = False
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    mn_ll_id: bytes | None = None
    contexts: tuple[ContextData, ...] = ()

    @property
    def name(self) -> str:
        return "CR"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextReflectionAck:
    """CR-ack: MH type 11, subtype 2. From a nMAG it acknowledges a CR.

    From a pMAG it answers the PBA of a de-registration that carried a context: everything that came down to it before
    that PBA has been delivered or sent back, so this message is the end marker of the old path.
    """

    status: Status
    sequence: int
    lifetime: float
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    mn_ll_id: bytes | None = None

    @property
    def name(self) -> str:
        return "CR-ack"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextContinuation:
    """MH type 11, subtype 7: what a PBU or CR of the same sequence number had no room for, part `part` of `parts`.

    The PBU or CR itself is part 0; `lifetime` as in the CR.
    """

    sequence: int
    lifetime: float
    part: int
    parts: int
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    mn_ll_id: bytes | None = None
    contexts: tuple[ContextData, ...] = ()

    @property
    def name(self) -> str:
        return "CC"


class RevocationTrigger(_Octet):
    """Why a binding is revoked (RFC 5846 section 5.1)."""

    UNSPECIFIED = 0
    ADMINISTRATIVE = 1
    HANDOVER_SAME_ACCESS = 2
    HANDOVER_DIFFERENT_ACCESS = 3
    HANDOVER_UNKNOWN = 4
    USER_INITIATED = 5
    ACCESS_NETWORK = 6
    OUT_OF_SYNC = 7
    PER_PEER_POLICY = 128
    REVOKING_NODE_POLICY = 129


class RevocationStatus(_Octet):
    """Status of a Binding Revocation Acknowledgement (RFC 5846 section 5.2)."""

    SUCCESS = 0
    PARTIAL_SUCCESS = 1
    BINDING_DOES_NOT_EXIST = 128
    IPV4_HOA_OPTION_REQUIRED = 129
    GLOBAL_REVOCATION_NOT_AUTHORIZED = 130
    REVOKED_IDENTITY_REQUIRED = 131
    MN_IS_ATTACHED = 132
    TRIGGER_NOT_SUPPORTED = 133
    FUNCTION_NOT_SUPPORTED = 134
    PROXY_BINDING_NOT_SUPPORTED = 135


class RevocationFlag(IntFlag):
    """Flags of both revocation messages (RFC 5846 section 5); no bit is lost."""

    PROXY = 0x8000
    IPV4_HOA_ONLY = 0x4000
    GLOBAL = 0x2000


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingRevocationIndication:
    """BRI (RFC 5846 section 5.1)."""

    trigger: RevocationTrigger
    sequence: int
    flags: RevocationFlag = RevocationFlag.PROXY
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    alternate_coa: IPv6Address | None = None

    @property
    def name(self) -> str:
        return "BRI"


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingRevocationAck:
    """BRA (RFC 5846 section 5.2)."""

    status: RevocationStatus
    sequence: int
    flags: RevocationFlag = RevocationFlag.PROXY
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()

    @property
    def name(self) -> str:
        return "BRA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Heartbeat (RFC 5847 section 3.3): a request, a response to it, or an unsolicited one after a restart.

    `restart_counter` is the sender's and has a meaning in responses only.
    """

    sequence: int
    response: bool = False
    unsolicited: bool = False
    restart_counter: int | None = None

    @property
    def name(self) -> str:
        return "HB-response" if self.response else "HB-request"


Message = (
    ProxyBindingUpdate
    | ProxyBindingAck
    | BindingError
    | ContextReflection
    | ContextReflectionAck
    | ContextContinuation
    | BindingRevocationIndication
    | BindingRevocationAck
    | Heartbeat
)
