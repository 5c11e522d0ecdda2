"""What `testbed watch` shows, without a terminal: a made-up handover at known moments."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from testbed.__main__ import main
from testbed.measurement.measure import measure
from testbed.watch import frame as frames
from testbed.watch.frame import frame_at
from testbed.watch.player import Playback, keys_in
from testbed.watch.recording import ARRIVED, Recording, Stage, load
from testbed.watch.view import HEIGHT, WIDTH, paint
from tests.made_handover import US, made_run
from tests.run_builder import CORE, MS, iperf3_packet

DETACH = 1000 * MS  # of the first handover, mag1 to mag2
HELD = 9000  # a packet that waits at the LMA, and one behind it that shows how long the way is
USUAL = 9001


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain PMIPv6 twice; beyond that one packet that the LMA holds for 41 ms, with the next one close behind."""
    run = made_run(2)
    for number, sent, lma, mag in ((HELD, 10.0, 10.1, 56.1), (USUAL, 51.0, 51.2, 56.2)):
        packet = iperf3_packet("mn", "downlink", number)
        run.frame("lma", DETACH + round(lma * MS), CORE, packet, outgoing=False)
        run.downlink(
            number,
            DETACH + round(sent * MS),
            mag="mag2",
            crossed=DETACH + round(mag * MS) + 1000,
            arrived=DETACH + round(mag * MS) + 3000,
        )
    run.note("lma", DETACH + 6 * MS, "hold-started")
    run.note("lma", DETACH + 51 * MS, "hold-released")
    run.note("mag2", DETACH + 12 * MS, "context-stored")
    return run.write(tmp_path_factory.mktemp("watched") / "run")


@pytest.fixture(scope="module")
def recording(directory: Path) -> Recording:
    return load(directory)


def test_every_packet_ends_as_the_measurement_says(directory: Path, recording: Recording) -> None:
    first = measure(directory)["handovers"][0]
    everything = frame_at(recording, recording.end_us + 10**6)
    for direction, count in everything.counts.items():
        assert count.sent == count.arrived + count.lost + count.lost_on_air
        assert (count.lost, count.lost_on_air) == (first[direction]["lost"], first[direction]["lost_on_air"])


def test_a_packet_waits_where_its_way_took_longer_than_usual(recording: Recording) -> None:
    (held,) = [packet for packet in recording.packets if packet.number == HELD]
    assert held.fate == ARRIVED
    assert [(round(one.begin_us), round(one.end_us), one.origin, one.target) for one in held.stages] == [
        (10_000, 10_100, "CN", "LMA"),
        (10_100, 51_100, "LMA", "LMA"),
        (51_100, 56_100, "LMA", "nMAG"),
        (56_100, 56_101, "nMAG", "air"),
        (56_101, 56_103, "air", "MN"),
    ]
    assert frame_at(recording, 30_000).held == {"LMA": 1}
    assert frame_at(recording, 30_000).counts["downlink"].held == 1
    assert frame_at(recording, 52_000).held == {}


@pytest.mark.parametrize(
    ("t_us", "mag", "message"),
    [
        (-1000, "pMAG", None),
        (3000, None, ("PBU-dereg", "pMAG", "LMA", 0.5)),
        (53_000, "nMAG", ("PBU", "nMAG", "LMA", 0.5)),
    ],
)
def test_the_mn_and_the_messages_are_where_they_are(
    recording: Recording, t_us: float, mag: str | None, message: tuple[str, str, str, float] | None
) -> None:
    frame = frame_at(recording, t_us)
    assert frame.mag == mag
    assert frame.away == (None if mag else pytest.approx(0.06))
    flying = [(one.text, one.origin, one.target, one.fraction) for one in frame.moving if one.kind == "message"]
    assert flying == ([message] if message else [])


def test_nodes_say_what_they_do_with_the_packets(recording: Recording) -> None:
    assert frame_at(recording, 60_000).states[("LMA", "downlink")] == "nMAG"
    assert ("nMAG", "downlink") not in frame_at(recording, 60_000).states
    assert frame_at(recording, 62_000).states[("nMAG", "downlink")] == "access"
    assert ("nMAG", "context") not in frame_at(recording, 11_000).states
    assert frame_at(recording, 13_000).states[("nMAG", "context")] == "stored"
    assert frame_at(recording, 7_000).holding == {"LMA"}
    assert frame_at(recording, 52_000).holding == set()


def test_a_loss_is_seen_for_a_while(recording: Recording) -> None:
    lost = [packet for packet in recording.packets if packet.fate == "lost" and packet.direction == "uplink"]
    assert {packet.place for packet in lost} == {"nMAG"}
    assert ("nMAG", "uplink") in frame_at(recording, lost[0].end_us + 1).lost
    assert not frame_at(recording, lost[-1].end_us + 5000).lost


@given(st.data())
def test_packets_are_always_somewhere(recording: Recording, data: st.DataObject) -> None:
    t_us = data.draw(st.floats(recording.begin_us - 1000, recording.end_us + 1000))
    frame = frame_at(recording, t_us)
    for count in frame.counts.values():
        assert count.sent == count.arrived + count.under_way + count.held + count.lost + count.lost_on_air
        assert min(count) >= 0
    assert all(0 <= one.fraction < 1 for one in frame.moving)
    lines = paint(recording, frame).lines()
    assert len(lines) == HEIGHT
    assert max(map(len, lines)) <= WIDTH


def test_the_picture_says_it_without_colours(recording: Recording) -> None:
    picture = "\n".join(paint(recording, frame_at(recording, 30_000), "the last line").lines())
    for word in (
        "pmipv6, reactive: handover 1 of 2",
        "+30.00 ms",
        "pMAG (mag1)",
        "nMAG (mag2)",
        "kept here",
        "no link",
    ):
        assert word in picture
    assert "held 1   ▮" in picture
    assert picture.endswith("the last line")
    assert "holds what comes for the MN" in picture
    ascii_only = "\n".join(paint(recording, frame_at(recording, 30_000)).lines(ascii_only=True))
    assert ascii_only.isascii()
    plain = paint(recording, frame_at(recording, 30_000), "the last line").text().plain
    assert [line.rstrip() for line in plain.split("\n")] == picture.split("\n")


def test_stages_follow_each_other(recording: Recording) -> None:
    assert any(packet.stages for packet in recording.packets)
    for packet in recording.packets:
        ends: list[tuple[Stage, Stage]] = list(pairwise(packet.stages))
        assert all((one.end_us, one.target) == (other.begin_us, other.origin) for one, other in ends)


def test_keys(recording: Recording) -> None:
    playback = Playback(recording, 100)
    playback.advance(1.0)
    assert playback.t_us == recording.begin_us + 10_000
    playback.press("space")
    playback.advance(1.0)
    assert playback.t_us == recording.begin_us + 10_000
    playback.press("right")
    assert playback.t_us == min(t for t in frames.key_moments(recording) if t > recording.begin_us + 10_000)
    playback.press("left")
    playback.press("left")
    assert playback.t_us == recording.begin_us
    for _ in range(20):
        playback.press("+")
    assert playback.slow == 1
    playback.press("space")
    playback.advance(3600)
    assert playback.at_the_end
    playback.press("space")
    assert (playback.t_us, playback.paused) == (recording.begin_us, False)
    playback.press("q")
    assert not playback.quit
    playback.press("quit")
    assert playback.quit


def test_what_terminals_send() -> None:
    assert keys_in("\x1b[C \x1b[Dq+") == ["right", "space", "left", "quit", "+"]
    assert keys_in("\x1b") == keys_in("\x03") == ["quit"]


def test_a_kept_run_is_shown_without_a_terminal(directory: Path) -> None:
    result = CliRunner().invoke(main, ["watch", "--from", str(directory), "--handover", "1", "--at", "3", "--at", "53"])
    assert result.exit_code == 0, result.output
    assert "handover 2 of 2" in result.output
    assert "PBU-dereg" in result.output
    assert "+53.00 ms" in result.output


@pytest.mark.parametrize(
    ("arguments", "complaint", "status"),
    [
        (["--handover", "7"], "no handover 7, only 0 to 1", 1),
        (["--mode", "predictive", "--scheme", "pmipv6"], None, 2),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(
    directory: Path, arguments: list[str], complaint: str | None, status: int
) -> None:
    source = ["--from", str(directory)] if complaint else []
    result = CliRunner().invoke(main, ["watch", *source, *arguments])
    assert result.exit_code == status
    assert len(result.output.splitlines()) == 1
    assert (complaint or "pmipv6 has no predictive mode") in result.output


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["watch", "--from", str(tmp_path)])
    assert result.exit_code == 1
    assert "run.json" in result.output


def test_ctrl_c_ends_it_and_leaves_the_terminal_as_it_was(directory: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        argv = [sys.executable, "-m", "testbed", "watch", "--from", str(directory)]
        os.execve(sys.executable, argv, {**environment, "TERM": "xterm"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    before, seen, pressed = termios.tcgetattr(terminal), b"", False
    try:
        while select.select([terminal], [], [], 60)[0]:
            seen += os.read(terminal, 1 << 16)
            if not pressed and b"handover 1 of 2" in seen:
                os.write(terminal, b"\x03")
                pressed = True
            if b"\x1b[?1049l" in seen:  # back to the screen that was there before
                break
        else:
            os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert b"Traceback" not in seen
        assert b"\x1b[?25h" in seen  # the cursor is seen again
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(terminal)


def test_moments_are_of_the_made_up_handover(recording: Recording) -> None:
    assert recording.nodes["pMAG"] == "mag1"
    assert recording.attach_us == 50_000
    assert [message.sent_us * US for message in recording.messages if message.name == "PBU"] == [50_500 * US]
