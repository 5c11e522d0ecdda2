"""Handover Initiate and Handover Acknowledge between two MAGs (RFC 5949 section 6), as the cores see them."""

from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from common.mh.values import ContextData, MnId, Octet


class HandoverInitiateFlag(IntFlag):
    """RFC 5949 section 6.1.1; no bit is lost. `BUFFER` asks to keep packets, `FORWARDING` to send them on."""

    ASSIGNED_ADDRESS = 0x80  # of RFC 5568, 0 here
    BUFFER = 0x40
    PROXY = 0x20
    FORWARDING = 0x10


class HandoverAckFlag(IntFlag):
    """RFC 5949 section 6.1.2; no bit is lost."""

    BUFFER = 0x80
    PROXY = 0x40
    FORWARDING = 0x20


class HandoverInitiateCode(Octet):
    """RFC 5949 section 6.1.1."""

    DEFAULT = 0
    FORWARDING_COMPLETED = 2
    ALL_CONTEXT_TRANSFERRED = 3


class HandoverAckCode(Octet):
    """RFC 5949 section 6.1.2; from 128 on the handover is refused."""

    ACCEPTED = 0
    CONTEXT_TRANSFER_ACCEPTED = 5
    ALL_CONTEXT_TRANSFERRED = 6
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INSUFFICIENT_RESOURCES = 130
    CONTEXT_NOT_AVAILABLE = 131
    FORWARDING_NOT_AVAILABLE = 132


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """One request of a Context Request option (RFC 5949 section 6.2.1): an option's type, and what tells which one."""

    option: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverInitiate:
    """HI (RFC 5949 section 6.1.1). `lma_addresses`: one of IPv6, one of IPv4; `interface_id`: 8 octets, of the MN's
    link-local address; `requests`: what the answer is to hold."""

    sequence: int
    flags: HandoverInitiateFlag = HandoverInitiateFlag.PROXY
    code: HandoverInitiateCode = HandoverInitiateCode.DEFAULT
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    mn_ll_id: bytes | None = None
    link_local: IPv6Address | None = None
    lma_addresses: tuple[IPv6Address | IPv4Address, ...] = ()
    interface_id: bytes | None = None
    requests: tuple[ContextRequest, ...] | None = None
    contexts: tuple[ContextData, ...] = ()

    @property
    def name(self) -> str:
        return "HI"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverAck:
    """HAck (RFC 5949 section 6.1.2); fields as in the HI."""

    sequence: int
    code: HandoverAckCode
    flags: HandoverAckFlag = HandoverAckFlag.PROXY
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    mn_ll_id: bytes | None = None
    link_local: IPv6Address | None = None
    lma_addresses: tuple[IPv6Address | IPv4Address, ...] = ()
    interface_id: bytes | None = None
    contexts: tuple[ContextData, ...] = ()

    @property
    def name(self) -> str:
        return "HAck"
