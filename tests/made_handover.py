"""PMIPv6 handovers made up to the microsecond, so that what a measurement must say of them is known beforehand."""

from dataclasses import dataclass

from common.mh.messages import MnId, ProxyBindingAck, ProxyBindingUpdate, Status, Timestamp
from tests.run_builder import MS, RunBuilder

US = 1000
ONE_WAY = 5 * MS  # MAG to LMA
CORE_HOP, ACCESS_HOP = 200 * US, 100 * US  # CN to LMA, MAG to MN
# After the detach, microseconds: the paper's moments when RTT is 10 ms and L2 50 ms
MOMENTS_US = {
    "a": 300,
    "b": 500,
    "c": 5500,
    "d": 5800,
    "e": 10800,
    "f": 50200,
    "g": 50500,
    "h": 55500,
    "i": 56100,
    "j": 61100,
    "k": 61900,
}
L2 = 50 * MS


def pbu(sequence: int, *, mn: str = "mn", lifetime: int = 300, timestamp: int | None = None) -> ProxyBindingUpdate:
    return ProxyBindingUpdate(
        sequence=sequence,
        lifetime=lifetime,
        mn_id=MnId.nai(f"{mn}@example.net"),
        timestamp=Timestamp(sequence * 1000 if timestamp is None else timestamp),
    )


def pba(request: ProxyBindingUpdate, status: Status = Status.ACCEPTED) -> ProxyBindingAck:
    return ProxyBindingAck(
        status=status,
        sequence=request.sequence,
        lifetime=request.lifetime,
        mn_id=request.mn_id,
        timestamp=request.timestamp,
    )


@dataclass(frozen=True)
class MadeHandover:
    pmag: str
    nmag: str
    detach: int  # nanoseconds after T0
    mn: str = "mn"

    def at(self, letter: str) -> int:
        return self.detach + MOMENTS_US[letter] * US

    @property
    def attach(self) -> int:
        return self.detach + L2

    def add_to(self, run: RunBuilder, sequence: int = 1) -> None:
        run.move(self.mn, self.pmag, self.nmag, self.detach, self.attach)
        dereg, registration = pbu(sequence, mn=self.mn, lifetime=0), pbu(sequence + 1, mn=self.mn)
        run.note(self.pmag, self.at("a"), "detached", self.mn)
        run.signal(dereg, self.pmag, "lma", self.at("b"), self.at("c"))
        run.signal(pba(dereg), "lma", self.pmag, self.at("d"), self.at("e"))
        run.note(self.nmag, self.at("f"), "attached", self.mn)
        run.signal(registration, self.nmag, "lma", self.at("g"), self.at("h"))
        run.note("lma", self.at("i") - 50 * US, "forwarding", self.mn, downlink=self.nmag)
        run.signal(pba(registration), "lma", self.nmag, self.at("i"), self.at("j"))
        run.note(self.nmag, self.at("k"), "forwarding", self.mn, downlink="access")


def add_traffic(run: RunBuilder, handovers: list[MadeHandover], end: int, period: int = 5 * MS, mn: str = "mn") -> None:
    """Downlink leaves CN at 0.5 ms and every period from there, uplink leaves the MN at 2.5 ms and so on."""
    for number, sent in enumerate(range(500 * US, end, period), 1):
        at_lma, past = sent + CORE_HOP, [one for one in handovers if one.at("c") <= sent + CORE_HOP]
        before = handovers[0].pmag
        if past and at_lma < past[-1].at("i"):
            run.downlink(number, sent, mn=mn)  # the LMA drops between de-registration and registration
            continue
        mag, crossed = (past[-1].nmag if past else before), at_lma + ONE_WAY
        gone = any(one.detach <= crossed < one.attach for one in handovers)
        if gone:
            run.downlink(number, sent, mn=mn)  # no carrier: it leaves no interface
        else:
            run.downlink(number, sent, mag=mag, crossed=crossed, arrived=crossed + ACCESS_HOP, mn=mn)
    for number, sent in enumerate(range(2500 * US, end, period), 1):
        left = [one for one in handovers if one.detach <= sent]
        mag = left[-1].nmag if left else handovers[0].pmag
        crossed = sent + ACCESS_HOP
        if left and sent < left[-1].attach:
            run.uplink(number, sent, mn=mn)
        elif left and sent < left[-1].at("k"):
            run.uplink(number, sent, mag=mag, crossed=crossed, mn=mn)  # the nMAG does not forward yet
        else:
            run.uplink(number, sent, mag=mag, crossed=crossed, arrived=crossed + ONE_WAY + CORE_HOP, mn=mn)


def made_run(count: int = 1, *, dwell: int = 1000 * MS, period: int = 5 * MS) -> RunBuilder:
    """`count` handovers back and forth, one each `dwell`, with traffic both ways from 0 to one dwell after the last."""
    run = RunBuilder()
    mags = ("mag1", "mag2")
    handovers = [MadeHandover(mags[i % 2], mags[1 - i % 2], (i + 1) * dwell) for i in range(count)]
    for i, handover in enumerate(handovers):
        handover.add_to(run, sequence=2 * i + 1)
    add_traffic(run, handovers, (count + 1) * dwell, period)
    return run
