"""All that keeps packets in the kernel: the holds of sessions, strays, and at a MAG the gates of access links."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from common.dataplane.elements import Element, ElementSocket
from common.dataplane.gates import Gates
from common.dataplane.hold import HNP_LENGTH, QUEUE_OF, HoldLimits, HoldPool, Session, number
from common.dataplane.interface import Readable
from common.dataplane.strays import Judge, Strays
from common.dataplane.uplink import UplinkGates

GATES, STRAYS = "gates", "strays"
STRAYS_LENGTH = 65535  # packets, of all sessions together
Watch = tuple[Readable, Callable[[], None]]  # call it when the socket can be read


@dataclass(frozen=True, slots=True)
class Keep:
    """What a daemon is to keep: how much of held sessions; how long, in seconds, a stray that nobody expects; whether
    what MNs send before they have a path; and whether an access link without carrier gives back what is for it."""

    limits: HoldLimits = field(default_factory=HoldLimits)
    patience: float = 1.0
    uplink: bool = False
    give_back: bool = True


class Keeping:
    """Queues count from `first`: one for strays, one for each of the `access` links, one for each session held.

    `inherited` are the descriptors that an earlier life had, by the names that `descriptors` gives them.
    """

    def __init__(
        self,
        table: str,
        keep: Keep,
        *,
        first: int,
        access: Mapping[str, int],
        judge: Judge,
        stray_reason: str,
        inherited: Mapping[str, int],
    ) -> None:
        self.elements = ElementSocket(table)
        self.gates = Gates(self.elements, inherited=inherited.get(GATES))
        self.strays = Strays(
            first,
            STRAYS_LENGTH,
            judge,
            reason=stray_reason,
            patience=keep.patience,
            inherited=inherited.get(STRAYS),
        )
        self.uplink = UplinkGates(self.gates, access if keep.uplink else {}, first + 1)
        self.pool = HoldPool(self.gates, keep.limits, first + 1 + len(access))

    def prepare(self) -> None:
        """Have the standing queues, before the rules that lead packets there. Raises DataPlaneError."""
        self.strays.prepare()
        self.uplink.prepare()

    def descriptors(self) -> dict[str, int]:
        """Whoever keeps these open keeps the packets that wait."""
        return {GATES: self.gates.descriptor(), STRAYS: self.strays.socket.fileno()}

    def adopt(self, listed: frozenset[Element], held: Mapping[Session, bool]) -> frozenset[Element]:
        """What waits for these sessions waits on; sessions that are held wait, whether they did before or not.

        `listed` is what the sets have; returned is what they are to have now. To be followed by `release` of those that
        are not to be held.
        """
        queues = {element.key: number(element.data) for element in listed if element.set == QUEUE_OF}
        states = self.gates.inherited()
        wanted = set(self.uplink.adopt(listed))
        for session, is_held in held.items():
            [queue, *others] = {queues.get(hnp.network_address.packed[: HNP_LENGTH // 8]) for hnp in session}
            if others:  # no session of one life has two queues
                queue = None
            if is_held or queue in states:
                wanted.update(self.pool.adopt(session, queue, states))
        self.pool.dismiss_others(states)
        return frozenset(wanted)

    def hold(self, session: Session, also: Sequence[Element]) -> None:
        """The session is held when this returns, and `also` are in their sets. Raises DataPlaneError."""
        self.pool.start(session, also)

    def refill(self, listed: Iterable[Element]) -> None:
        """The sets are empty: put into them what is `listed` and the way into every gate. Raises DataPlaneError."""
        self.strays.lose()
        self.gates.lose()
        self.elements.change(add=[*listed, *self.gates.elements()])

    def sockets(self) -> list[Watch]:
        return [(self.strays.socket, self.strays.read)]

    def deadline(self) -> float | None:
        moments = (self.gates.deadline(), self.strays.deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def expire(self, now: float) -> None:
        self.strays.expire(now)
        self.gates.expire(now)

    def drops(self) -> Counter[str]:
        return self.gates.drops() + self.strays.drops()

    def end(self) -> None:
        """Whatever still waits is dropped."""
        self.gates.end()
        self.strays.end()
        self.elements.close()
