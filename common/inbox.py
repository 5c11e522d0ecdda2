"""Messages that wait to be looked at, peer by peer: whoever sends many makes only itself wait."""

from collections import OrderedDict, deque
from ipaddress import IPv6Address

MOST_OF_A_PEER = 2048  # messages


class Inbox:
    """First come, first served within a peer; between peers each in its turn. Pure: it neither reads nor waits."""

    def __init__(self, most_of_a_peer: int = MOST_OF_A_PEER) -> None:
        self._most = most_of_a_peer
        self._of: OrderedDict[IPv6Address, deque[tuple[bytes, float]]] = OrderedDict()  # the first one's turn is next

    def put(self, source: IPv6Address, data: bytes, came_at: float) -> bool:
        """Whether there was room for it; `came_at` is its moment."""
        waiting = self._of.setdefault(source, deque())
        if len(waiting) >= self._most:
            return False
        waiting.append((data, came_at))
        return True

    def take(self) -> tuple[bytes, IPv6Address, float] | None:
        """The next message, who sent it and when it came; None when there is none."""
        if not self._of:
            return None
        source, waiting = next(iter(self._of.items()))
        data, came_at = waiting.popleft()
        if waiting:
            self._of.move_to_end(source)
        else:
            del self._of[source]
        return data, source, came_at

    def __bool__(self) -> bool:
        return bool(self._of)
