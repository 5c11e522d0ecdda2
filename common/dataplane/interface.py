"""What the shells ask of a kernel. `linux.py` does it; the tests have a double that remembers the calls."""

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Protocol

from common.actions import Forward


class DataPlane(Protocol):
    """Every method raises DataPlaneError, and then nothing of the call is left installed."""

    def start(self, local: IPv6Address, peers: Iterable[IPv6Address]) -> None:
        """Have a tunnel from `local` to each peer, adopt what is ours and right, remove what is ours and stray."""

    def apply(self, forward: Forward) -> None:
        """Replace the forwarding of one mobility session; returns once the kernel has it."""

    def drops(self) -> dict[str, int]:
        """Packets the kernel dropped for us, by reason."""

    def close(self) -> None:
        """Remove everything that is ours."""
