"""What PBU and PBA (RFC 5213 sections 8.1 and 8.2) share with the messages of the Fast Handover Scheme."""

from dataclasses import dataclass, fields
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from common.mh.values import AccessTechnologyType, AckFlag, HandoffIndicator, MnId, Status, Timestamp, UpdateFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBody:
    """The body of a PBU. `lifetime` in seconds, a multiple of 4."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AckBody:
    """The body of a PBA. `lifetime` in seconds, a multiple of 4."""

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


def body_of(message: UpdateBody | AckBody) -> dict[str, Any]:
    """The message's body alone, to make another message of it."""
    names = _UPDATE if isinstance(message, UpdateBody) else _ACK
    return {name: getattr(message, name) for name in names}


_UPDATE, _ACK = (tuple(field.name for field in fields(kind)) for kind in (UpdateBody, AckBody))
