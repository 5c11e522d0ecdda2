"""What the shell (`daemon.py`) drives: the protocol, without sockets, clocks or kernel; lmad/lma.py and magd/mag.py."""

from ipaddress import IPv6Address
from typing import Protocol

from common.actions import Action, Forward
from common.errors import DataPlaneError
from common.mh.messages import Message


class Core(Protocol):
    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]: ...
    def deadline(self) -> float | None: ...
    def expire(self, now: float) -> list[Action]: ...
    def forwarding_failed(self, forward: Forward, error: DataPlaneError, now: float) -> list[Action]: ...
