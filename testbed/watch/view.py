"""A frame painted: nodes and their links, what flies over them, counts, the latest events. 100 columns, 30 rows.

Every kind of thing has a character of its own; colours only help.
"""

from testbed.measurement.observations import DOWNLINK, UPLINK
from testbed.report.sequence_chart import CN, LMA, MN, NMAG, PMAG
from testbed.watch.frame import Frame, Moving
from testbed.watch.recording import Recording
from testbed.watch.screen import Point, Screen, path

WIDTH, HEIGHT = 100, 30
_MAG_WIDTH, _LMA_WIDTH, _SIDE_WIDTH = 27, 23, 9
_LMA_X, _MAG_X, _MN_X = 20, 61, 90
_BOXES: dict[str, Point] = {CN: (1, 9), LMA: (_LMA_X, 8), PMAG: (_MAG_X, 3), NMAG: (_MAG_X, 13)}
_MN_ROWS = {PMAG: 4, NMAG: 14}
_LINKS: dict[tuple[str, str], list[Point]] = {
    (CN, LMA): path((10, 10), (19, 10)),
    (LMA, PMAG): path((43, 9), (60, 5)),
    (LMA, NMAG): path((43, 11), (60, 15)),
    (PMAG, NMAG): path((74, 8), (74, 12)),
    (PMAG, MN): path((88, 5), (89, 5)),
    (NMAG, MN): path((88, 15), (89, 15)),
}
_MARKS = {DOWNLINK: "●", UPLINK: "○"}
_STYLES = {
    DOWNLINK: "bold bright_blue",
    UPLINK: "bold yellow",
    "message": "reverse bold",
    "held": "bold cyan",
    "lost": "bold red",
    "dim": "dim",
    "title": "bold",
}
_HELD_BAR = 10  # packets: longer than that is a number only
_TABLE_Y, _LOG_Y = 20, 24


def paint(recording: Recording, frame: Frame, note: str = "") -> Screen:
    """`note` is the last line: speed, keys."""
    screen = Screen(WIDTH, HEIGHT)
    _title(screen, recording, frame)
    _links(screen, recording, frame)
    _nodes(screen, recording, frame)
    for moving in frame.moving:
        if moving.kind != "message":
            _packet(screen, moving)
    _messages(screen, [moving for moving in frame.moving if moving.kind == "message"])
    _table(screen, frame)
    _log(screen, frame)
    screen.put((1, HEIGHT - 1), note, _STYLES["dim"])
    return screen


def _title(screen: Screen, recording: Recording, frame: Frame) -> None:
    what = f"{recording.scheme}, {recording.mode}: handover {recording.index + 1} of {recording.of}"
    screen.put((1, 0), what, _STYLES["title"])
    point = f"RTT {recording.rtt_ms:g} ms, L2 {recording.l2_ms:g} ms, {recording.rate_pps:g} packets/s"
    screen.put((WIDTH - 1 - len(point), 0), point, _STYLES["dim"])
    length, x = WIDTH - 18, 15
    now = f"{frame.t_us / 1000:+.2f} ms"
    screen.put((1, 1), now.rjust(12), _STYLES["title"])

    def column(t_us: float) -> int:
        return x + round((t_us - recording.begin_us) / (recording.end_us - recording.begin_us) * length)

    screen.put((x, 1), f"├{'─' * (length - 1)}┤", _STYLES["dim"])
    for t_us, text in ((0.0, "leaves"), (recording.attach_us, "arrives")):
        screen.put((column(t_us), 1), "┼", _STYLES["dim"])
        screen.put((column(t_us) - len(text) // 2, 2), text, _STYLES["dim"])
    screen.put((column(min(max(frame.t_us, recording.begin_us), recording.end_us)), 1), "▮", _STYLES["title"])


def _links(screen: Screen, recording: Recording, frame: Frame) -> None:
    between_mags = {PMAG, NMAG}
    used = any({one.sender, one.receiver} == between_mags for one in recording.messages) or any(
        {stage.origin, stage.target} == between_mags for packet in recording.packets for stage in packet.stages
    )
    for (origin, target), cells in _LINKS.items():
        if target == MN and frame.mag != origin:
            continue
        if (origin, target) == (PMAG, NMAG) and not used:
            continue
        for cell in cells:
            screen.put(cell, "≈" if target == MN else "·", _STYLES["dim"])
    screen.put((11, 9), "internet", _STYLES["dim"])


def _nodes(screen: Screen, recording: Recording, frame: Frame) -> None:
    cn_lines = [("CN", _STYLES["title"])]
    screen.box(_BOXES[CN], _SIDE_WIDTH, cn_lines)
    goes_to = frame.states.get((LMA, "downlink"), "none")
    if LMA in frame.holding:
        goes_to = "kept here"
    downlink = {"drop": "dropped", "none": "not known"}.get(goes_to, goes_to)
    _router(screen, frame, LMA, LMA, f"MN {'→ ' if downlink in (PMAG, NMAG) else ''}{downlink}")
    for role in (PMAG, NMAG):
        name = f"{role} ({recording.nodes.get(role, role)})"
        goes_to = frame.states.get((role, "downlink"), "none")
        word = {"access": "MN → its link", "none": "MN not known", "drop": "MN dropped"}.get(goes_to, f"MN → {goes_to}")
        context = ", context" if frame.states.get((role, "context")) and goes_to != "none" else ""
        _router(screen, frame, role, name, word + context)
    _mobile_node(screen, recording, frame)


def _router(screen: Screen, frame: Frame, role: str, name: str, state: str) -> None:
    held = frame.held.get(role, 0)
    bar = "▮" * min(held, _HELD_BAR)
    lines = [
        (name, _STYLES["title"]),
        (state, ""),
        (f"held {held:<3} {bar}" if held or role in frame.holding else "", _STYLES["held"]),
    ]
    screen.box(
        _BOXES[role], _LMA_WIDTH if role == LMA else _MAG_WIDTH, lines, _STYLES["held"] if role in frame.holding else ""
    )
    lost = [direction for place, direction in frame.lost if place == role]
    if lost:
        x, y = _BOXES[role]
        marks = "".join(_MARKS[direction] for direction in lost)
        screen.put((x + 2, y + 5), f"✗ {marks} lost", _STYLES["lost"])


def _mobile_node(screen: Screen, recording: Recording, frame: Frame) -> None:
    if frame.mag:
        row, text = _MN_ROWS[frame.mag], recording.nodes.get(MN, "")
    else:
        begin, end = _MN_ROWS[PMAG], _MN_ROWS[NMAG]
        row, text = begin + round((end - begin) * (frame.away or 0.0)), "no link"
    style = "" if frame.mag else _STYLES["dim"]
    screen.box((_MN_X, row), _SIDE_WIDTH + 1, [(MN, _STYLES["title"]), (text, style)], style)


def _cells(moving: Moving) -> list[Point]:
    """The way it takes, in its direction; empty for one that is not drawn."""
    forth = _LINKS.get((moving.origin, moving.target))
    return forth or _LINKS.get((moving.target, moving.origin), [])[::-1]


def _packet(screen: Screen, moving: Moving) -> None:
    if cells := _cells(moving):
        screen.put(
            cells[min(int(moving.fraction * len(cells)), len(cells) - 1)], _MARKS[moving.kind], _STYLES[moving.kind]
        )


def _messages(screen: Screen, messages: list[Moving]) -> None:
    """Beside their link, on the side away from the LMA's middle; where two would meet, one further out."""
    taken: list[tuple[int, int, int]] = []  # row, first and last column
    for message in messages:
        cells = _cells(message)
        if not cells:
            continue
        x, y = cells[min(int(message.fraction * len(cells)), len(cells) - 1)]
        text = f" {message.text} ▶" if cells[-1][0] >= cells[0][0] else f"◀ {message.text} "
        first_x, last_x = sorted((cells[0][0], cells[-1][0]))
        left = max(min(x - len(text) // 2, last_x + 1 - len(text)), first_x)
        outwards = -1 if PMAG in (message.origin, message.target) else 1
        row = y + outwards
        while any(row == other and left <= last and first < left + len(text) for other, first, last in taken):
            row += outwards
        taken.append((row, left, left + len(text)))
        screen.put((left, row), text, _STYLES["message"])


def _table(screen: Screen, frame: Frame) -> None:
    header = ["sent", "arrived", "on the way", "held", "lost", "on air, unheard"]
    screen.put((13, _TABLE_Y), "  ".join(header), _STYLES["dim"])
    for row, direction in enumerate((DOWNLINK, UPLINK), _TABLE_Y + 1):
        screen.put((1, row), f"{_MARKS[direction]} {direction}", _STYLES[direction])
        x = 13
        for title, value in zip(header, frame.counts[direction], strict=True):
            style = (
                _STYLES["lost"] if title == "lost" and value else _STYLES["held"] if title == "held" and value else ""
            )
            screen.put((x, row), str(value).rjust(len(title)), style)
            x += len(title) + 2


def _log(screen: Screen, frame: Frame) -> None:
    room = HEIGHT - 1 - _LOG_Y
    for row, entry in enumerate(frame.log[-room:], _LOG_Y):
        newest = row == _LOG_Y + min(len(frame.log), room) - 1
        text = f"{entry.t_us / 1000:+9.2f} ms  {entry.place:<5} {entry.text}"
        screen.put((1, row), text, "" if newest else _STYLES["dim"])
