"""Whatever happens to packets, each is counted once and windows do not overlap."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from testbed.measurement.accounting import Noticed, account, fates_of, windows_of
from testbed.measurement.observations import DIRECTIONS, Arrival, Flow, OnAccessLink
from testbed.run.run_directory import Move

MS = 1_000_000
MAGS = ("mag1", "mag2", "mag3")


@st.composite
def moves(draw: st.DrawFn) -> list[Move]:
    t_ns, at, made = 1000 * MS, "mag1", []
    for index in range(draw(st.integers(0, 5))):
        t_ns += draw(st.integers(0, 500)) * MS
        target = draw(st.sampled_from([mag for mag in MAGS if mag != at]))
        attach_ns = t_ns + draw(st.integers(1, 100)) * MS
        made.append(Move(index=index, mn="mn", pmag=at, nmag=target, detach_ns=t_ns, attach_ns=attach_ns))
        t_ns, at = attach_ns, target
    return made


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    flow = Flow(5201)
    moment = st.integers(0, 4000).map(lambda ms: ms * MS)
    for number in range(1, draw(st.integers(0, 40)) + 1):
        sent_ns = draw(moment)
        flow.sent[number] = sent_ns
        flow.access += [
            OnAccessLink(sent_ns + draw(moment), number, mag) for mag in draw(st.sets(st.sampled_from(MAGS)))
        ]
        flow.offered += [OnAccessLink(sent_ns + draw(moment), number, draw(st.sampled_from(MAGS)))]
        flow.arrivals += [Arrival(sent_ns + draw(moment), number) for _ in range(draw(st.integers(0, 3)))]
    flow.access.sort()
    flow.offered.sort()
    flow.arrivals.sort()
    return flow


@given(moves(), flows(), flows(), st.sampled_from([1.0, 10.0, 200.0]))
def test_every_packet_is_counted_once(made: list[Move], downlink: Flow, uplink: Flow, rtt_ms: float) -> None:
    both = dict(zip(DIRECTIONS, (downlink, uplink), strict=True))
    windows = windows_of(made, both, rtt_ms)
    assert all(earlier.end_ns <= later.start_ns for earlier, later in pairwise(windows))
    for direction, flow in both.items():
        by_window, outside, total = account(flow, fates_of(flow, direction, made, Noticed({}, {})), windows)
        arrived = {arrival.number for arrival in flow.arrivals}
        assert total.sent == len(flow.sent) == sum(counts.sent for counts in [*by_window, outside])
        assert total.received == len(arrived)
        assert total.duplicated == len(flow.arrivals) - len(arrived)
        for counts in [*by_window, outside]:
            assert counts.sent == counts.received + counts.lost + counts.lost_on_air
        for window, counts in zip(windows, by_window, strict=True):
            assert counts.sent == sum(window.holds(t_ns) for t_ns in flow.sent.values())


@given(flows())
def test_reordered_is_what_comes_behind_a_higher_number(flow: Flow) -> None:
    _, _, total = account(flow, fates_of(flow, DIRECTIONS[0], [], Noticed({}, {})), [])
    firsts = list(dict.fromkeys(arrival.number for arrival in flow.arrivals))
    assert total.reordered == sum(number < max(firsts[:place]) for place, number in enumerate(firsts) if place)
