"""What the shells ask of a kernel. `linux.py` does it; the tests have a double that remembers the calls."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address
from typing import Protocol

from common.actions import Forward, Note


class Readable(Protocol):
    """A socket, as an event loop sees it."""

    def fileno(self) -> int: ...


class DataPlane(Protocol):
    """Every method raises DataPlaneError, and then what was before the call is in place again, or nothing of it.

    `notes` are what is to be said of what it has done by itself, until somebody has taken them.
    """

    notes: deque[Note]

    def start(self, local: IPv6Address, peers: Iterable[IPv6Address], sessions: Sequence[Forward] = ()) -> int:
        """Have a tunnel from `local` to each peer and these sessions forwarded so.

        What an earlier life has left in the kernel is adopted where it is right, without a packet lost, and removed
        where it is not: the number of such strays is returned.
        """

    def apply(self, forward: Forward) -> None:
        """Replace the forwarding of one mobility session; returns once the kernel has it.

        A session is known by its prefixes, always given in the same order. Packets that were kept for it have gone
        their way when a call returns that no longer holds them.
        """

    def hold_uplink(self, interface: str, keep: bool) -> None:
        """See actions.HoldUplink; at the beginning every access link keeps."""

    def sockets(self) -> Sequence[tuple[Readable, Callable[[], None]]]:
        """What to call whenever a socket can be read, from `start` to `close`."""

    def deadline(self) -> float | None:
        """When `expire` is to be called, by time.monotonic(); any call may change it."""

    def expire(self, now: float) -> None:
        """Do what is due."""

    def holds(self) -> list[dict[str, object]]:
        """The sessions that are held now: packets kept, kept ahead of these, dropped by reason, for how long."""

    def drops(self) -> dict[str, int]:
        """Packets the kernel dropped for us, by reason."""

    def descriptors(self) -> dict[str, int]:
        """By name, what keeps waiting packets while it is open in whatever process; from `start` to `close`."""

    def close(self, *, keep: bool = False) -> None:
        """Remove everything that is ours, or with `keep` leave it to the next start."""
