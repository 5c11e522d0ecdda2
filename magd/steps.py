"""What a decision about an MN consists of: steps, which `sessions.py` carries out in order."""

from dataclasses import dataclass
from ipaddress import IPv6Network

from common.actions import Action
from common.mh.messages import HandoffIndicator
from magd.binding_update_list import INITIAL_BINDACK_TIMEOUT, BindingUpdateListEntry


@dataclass(frozen=True, slots=True)
class Removal:
    """An entry ends."""

    entry: BindingUpdateListEntry


@dataclass(frozen=True, slots=True)
class Request:
    """An entry that is stored with a new request outstanding; `lifetime` in seconds, None: the configured one.

    `timeout` in seconds: how long it is then waited for the answer.
    """

    entry: BindingUpdateListEntry
    handoff_indicator: HandoffIndicator
    lifetime: int | None = None
    timeout: float = INITIAL_BINDACK_TIMEOUT


@dataclass(frozen=True, slots=True)
class Announcement:
    """A Router Advertisement for the entry's MN."""

    entry: BindingUpdateListEntry


@dataclass(frozen=True, slots=True)
class Farewell:
    """The LMA is told, without waiting for its answer, that the entry's MN has no use for these prefixes."""

    entry: BindingUpdateListEntry
    hnps: tuple[IPv6Network, ...]


# An action, an entry to store, or one of the above.
Step = Action | BindingUpdateListEntry | Removal | Request | Announcement | Farewell
