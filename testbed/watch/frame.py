"""What there is to see at one moment of a recording: pure, and the same whoever shows it."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from testbed.measurement.observations import DIRECTIONS
from testbed.report.sequence_chart import NMAG, PMAG
from testbed.watch.recording import ARRIVED, LOST, LOST_ON_AIR, Entry, Packet, Recording

_LOSS_SHOWN_US = 4000.0
_LOG_LINES = 20


class Moving(NamedTuple):
    """`fraction` of the way from `origin` to `target`; `kind` is "message", "downlink" or "uplink"."""

    kind: str
    text: str
    origin: str
    target: str
    fraction: float


class Count(NamedTuple):
    """Packets of one direction by this moment; those sent are all the others together."""

    sent: int
    arrived: int
    under_way: int
    held: int
    lost: int
    lost_on_air: int


@dataclass(frozen=True)
class Frame:
    """`away` is how much of the time without a link has passed, None while there is one (with `mag`).

    `lost` are losses of the last few milliseconds, by place and direction.
    """

    t_us: float
    mag: str | None
    away: float | None
    moving: list[Moving]
    held: dict[str, int]
    holding: set[str]
    lost: list[tuple[str, str]]
    counts: dict[str, Count]
    states: dict[tuple[str, str], str]
    log: list[Entry]


def frame_at(recording: Recording, t_us: float) -> Frame:
    gone = 0 <= t_us < recording.attach_us
    return Frame(
        t_us=t_us,
        mag=None if gone else (PMAG if t_us < 0 else NMAG),
        away=t_us / recording.attach_us if gone else None,
        moving=[*_messages(recording, t_us), *_packets(recording, t_us)],
        held=_held(recording, t_us),
        holding={hold.lane for hold in recording.holds if hold.begin_us <= t_us < hold.end_us},
        lost=[
            (packet.place, packet.direction)
            for packet in recording.packets
            if packet.fate == LOST and 0 <= t_us - packet.end_us < _LOSS_SHOWN_US
        ],
        counts={direction: _count(recording, direction, t_us) for direction in DIRECTIONS},
        states=_states(recording, t_us),
        log=[entry for entry in recording.log if entry.t_us <= t_us][-_LOG_LINES:],
    )


def key_moments(recording: Recording) -> list[float]:
    """Moments at which something happens, in order."""
    return sorted({entry.t_us for entry in recording.log})


def _messages(recording: Recording, t_us: float) -> list[Moving]:
    moving = []
    for message in recording.messages:
        way_us = recording.rtt_ms / 2 * 1000 or 1.0
        if message.received_us is not None:
            fraction = (t_us - message.sent_us) / max(message.received_us - message.sent_us, 1.0)
        else:
            fraction = (t_us - message.sent_us) / way_us * 0.5  # it is seen half the way, then no more
            if fraction >= 0.5:
                continue
        if 0 <= fraction < 1:
            moving.append(Moving("message", message.name, message.sender, message.receiver, fraction))
    return moving


def _packets(recording: Recording, t_us: float) -> list[Moving]:
    moving = []
    for packet in recording.packets:
        for stage in packet.stages:
            if stage.begin_us <= t_us < stage.end_us and not stage.waits:
                fraction = (t_us - stage.begin_us) / (stage.end_us - stage.begin_us)
                moving.append(Moving(packet.direction, "", stage.origin, stage.target, fraction))
    return moving


def _waits_at(packet: Packet, t_us: float) -> str | None:
    return next((one.origin for one in packet.stages if one.waits and one.begin_us <= t_us < one.end_us), None)


def _held(recording: Recording, t_us: float) -> dict[str, int]:
    places = (_waits_at(packet, t_us) for packet in recording.packets)
    return dict(Counter(place for place in places if place))


def _count(recording: Recording, direction: str, t_us: float) -> Count:
    sent = [one for one in recording.packets if one.direction == direction and one.sent_us <= t_us]
    ended = Counter(packet.fate for packet in sent if packet.end_us <= t_us)
    held = sum(_waits_at(packet, t_us) is not None for packet in sent)
    return Count(
        sent=len(sent),
        arrived=ended[ARRIVED],
        under_way=len(sent) - ended.total() - held,
        held=held,
        lost=ended[LOST],
        lost_on_air=ended[LOST_ON_AIR],
    )


def _states(recording: Recording, t_us: float) -> dict[tuple[str, str], str]:
    """The last word of each node on each subject."""
    latest: dict[tuple[str, str], tuple[float, str]] = {}
    for state in recording.states:
        key = (state.place, state.key)
        if state.t_us <= t_us and state.t_us >= latest.get(key, (state.t_us, ""))[0]:
            latest[key] = (state.t_us, state.value)
    return {key: value for key, (_, value) in latest.items()}
