"""How an HI gets its HAck (RFC 5568 section 6.2.1.1): timeouts, retransmissions, and HIs that come late."""

from dataclasses import replace
from ipaddress import IPv6Address

from common.mh.messages import HandoverInitiate, MnId
from magd.binding_update_list import SERVED, BindingUpdateListEntry, State
from magd.config import MagdConfig
from magd.handover.fpmipv6.state import COMPLETED, Exchange
from magd.numbering import SEQUENCE_SPACE

HI_RETRIES = 3  # RFC 5568 section 9


class Exchanges:
    """With the `peers` of this MAG; with exactly one of them, `only_peer`, it need not be named."""

    def __init__(self, config: MagdConfig) -> None:
        peers = config.fpmipv6.peers
        self.peers = frozenset(peers)
        self.only_peer = peers[0] if len(peers) == 1 else None
        self._round_trips: dict[IPv6Address, float] = {}
        # The last HI about each interface, the latest at the end: sequence number, moment.
        self._heard: dict[tuple[IPv6Address, MnId, bytes | None], tuple[int, float]] = {}

    def follow(self, config: MagdConfig) -> None:
        self._timeout = config.fpmipv6.hi_timeout
        self._lifetime = config.fpmipv6.handover_lifetime

    def begun(self, peer: IPv6Address, hi: HandoverInitiate, now: float) -> Exchange:
        """The HI goes out now."""
        timeout = max(self._timeout, 2 * self._round_trips.get(peer, 0.0))
        return Exchange(peer=peer, hi=hi, sent=now, timeout=timeout)

    @staticmethod
    def again(exchange: Exchange, now: float) -> Exchange | None:
        """The HI goes out once more; None: it has often enough."""
        if exchange.retries == HI_RETRIES:
            return None
        return replace(exchange, sent=now, timeout=2 * exchange.timeout, retries=exchange.retries + 1)

    def over(self, exchange: Exchange, now: float) -> None:
        """The HAck has come; which of several HIs it answers nobody knows."""
        if not exchange.retries:
            self._round_trips[exchange.peer] = now - exchange.sent

    def is_late(
        self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None, now: float
    ) -> bool:
        """Older than another about the same MN, or a copy of one that has had its effect: an MN that has moved on since
        is not called back."""
        assert hi.mn_id is not None
        while self._heard and self._is_over(oldest := next(iter(self._heard)), now):
            del self._heard[oldest]
        about = source, hi.mn_id, hi.mn_ll_id
        if about in self._heard:
            age = (self._heard[about][0] - hi.sequence) % SEQUENCE_SPACE
            if age == 0:
                moved_on = SERVED if not hi.hnps else {State.FORWARDED, State.DEREGISTERING}
                return entry is not None and entry.state in moved_on and hi.code is not COMPLETED
            if age < SEQUENCE_SPACE // 2:
                return True
            del self._heard[about]
        self._heard[about] = hi.sequence, now
        return False

    def _is_over(self, about: tuple[IPv6Address, MnId, bytes | None], now: float) -> bool:
        return self._heard[about][1] + self._lifetime <= now
