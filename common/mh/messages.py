"""The messages of the mobility protocol as the cores see them: frozen values, seconds, enums, addresses.

The octets are defined in `layers.py` (scapy) and converted by `codec.py`; nothing here knows them. What messages are
made of is in `values.py`, and other schemes' messages have files of their own; all can be had from here, too.
Sources: RFC 6275 section 6.1 (messages), RFC 5213 section 8 (options), RFC 5846 section 5 (revocation),
RFC 5847 section 3.3 (heartbeat), docs/protocol.md (Context Reflector).
"""

from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv6Address, IPv6Network

from common.mh.bodies import AckBody, UpdateBody
from common.mh.fast_handover_messages import (
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
)
from common.mh.handover_messages import (
    ContextRequest,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateCode,
    HandoverInitiateFlag,
)
from common.mh.values import (
    ALL_ZERO_ADDRESS,
    ALL_ZERO_PREFIX,
    MAX_HOME_NETWORK_PREFIXES,
    AccessTechnologyType,
    AckFlag,
    ContextData,
    Feature,
    HandoffIndicator,
    MnId,
    Octet,
    Status,
    Timestamp,
    UpdateFlag,
)

__all__ = [  # of what is defined elsewhere
    "ALL_ZERO_ADDRESS",
    "ALL_ZERO_PREFIX",
    "MAX_HOME_NETWORK_PREFIXES",
    "AccessTechnologyType",
    "AckFlag",
    "ContextData",
    "ContextRequest",
    "FastProxyBindingAck",
    "FastProxyBindingUpdate",
    "Feature",
    "HandoffIndicator",
    "HandoverAck",
    "HandoverAckCode",
    "HandoverAckFlag",
    "HandoverInitiate",
    "HandoverInitiateCode",
    "HandoverInitiateFlag",
    "MnId",
    "ReverseProxyBindingAck",
    "ReverseProxyBindingUpdate",
    "Status",
    "Timestamp",
    "UpdateFlag",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyBindingUpdate(UpdateBody):
    """PBU (RFC 5213 section 8.1). `lifetime` in seconds, a multiple of 4; 0 asks for de-registration."""

    alternate_coa: IPv6Address | None = None
    contexts: tuple[ContextData, ...] = ()

    @property
    def name(self) -> str:
        return "PBU" if self.lifetime else "PBU-dereg"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyBindingAck(AckBody):
    """PBA (RFC 5213 section 8.2). `lifetime` and `refresh_advice` in seconds, multiples of 4."""

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


class RevocationTrigger(Octet):
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


class RevocationStatus(Octet):
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
    | FastProxyBindingUpdate
    | FastProxyBindingAck
    | ReverseProxyBindingUpdate
    | ReverseProxyBindingAck
    | HandoverInitiate
    | HandoverAck
)
