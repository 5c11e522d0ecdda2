"""Plays a recording in the terminal: slowly, with keys to stop, step and go on."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.live import Live

from testbed.watch.frame import frame_at, key_moments
from testbed.watch.recording import Recording
from testbed.watch.view import HEIGHT, WIDTH, paint

_FRAME_S = 0.05
_SLOWEST, _FASTEST = 3200.0, 1.0
_KEYS = {"\x1b[C": "right", "\x1b[D": "left", " ": "space", "\x1b": "quit", "q": "quit", "\x03": "quit"}


class Playback:
    """Which moment is shown; times in microseconds of the recording, `slow` is how much slower than real it runs."""

    def __init__(self, recording: Recording, slow: float) -> None:
        self._recording = recording
        self._moments = [recording.begin_us, *key_moments(recording), recording.end_us]
        self.slow = slow
        self.t_us = recording.begin_us
        self.paused = False
        self.quit = False

    @property
    def at_the_end(self) -> bool:
        return self.t_us >= self._recording.end_us

    def advance(self, passed_s: float) -> None:
        if not self.paused:
            self.t_us = min(self.t_us + passed_s * 1e6 / self.slow, self._recording.end_us)

    def press(self, key: str) -> None:
        match key:
            case "quit":
                self.quit = True
            case "space" if self.at_the_end:
                self.t_us, self.paused = self._recording.begin_us, False
            case "space":
                self.paused = not self.paused
            case "r":
                self.t_us, self.paused = self._recording.begin_us, False
            case "right":
                self.paused = True
                self.t_us = min((one for one in self._moments if one > self.t_us), default=self.t_us)
            case "left":
                self.paused = True
                self.t_us = max((one for one in self._moments if one < self.t_us), default=self.t_us)
            case "+" | "=":
                self.slow = max(self.slow / 2, _FASTEST)
            case "-":
                self.slow = min(self.slow * 2, _SLOWEST)

    @property
    def note(self) -> str:
        state = "the end: space plays it again" if self.at_the_end else "paused" if self.paused else "playing"
        return (
            f"{self.slow:g} times slower, {state}    space stop/go   ←/→ event by event   +/- speed   r again   q end"
        )


def play(recording: Recording, slow: float, console: Console) -> None:
    """Until the end is asked for; without a keyboard until the recording's end. Ctrl-C is as good as q."""
    playback, plain = Playback(recording, slow), _is_ascii(console)

    def picture() -> object:
        return paint(recording, frame_at(recording, playback.t_us), playback.note).text(plain)

    try:
        with _keyboard() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
            before = time.monotonic()
            while not playback.quit and not (playback.at_the_end and keyboard is None):
                live.update(picture(), refresh=True)  # type: ignore[arg-type]
                for key in _pressed(keyboard, _FRAME_S):
                    playback.press(key)
                now = time.monotonic()
                playback.advance(now - before)
                before = now
    except KeyboardInterrupt:
        pass


def print_moments(recording: Recording, moments_us: list[float], console: Console) -> None:
    """For what is no terminal: the frames of these moments, one below the other."""
    for t_us in moments_us:
        for line in paint(recording, frame_at(recording, t_us)).lines(_is_ascii(console)):
            console.out(line, highlight=False)
        console.out("_" * WIDTH, highlight=False)


def fits(console: Console) -> bool:
    return console.width >= WIDTH and console.height >= HEIGHT


def _is_ascii(console: Console) -> bool:
    return not console.encoding.lower().startswith("utf")


@contextmanager
def _keyboard() -> Iterator[IO[str] | None]:
    """Standard input so that a key counts at once, as it was again afterwards; None where it is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield sys.stdin
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(keyboard: IO[str] | None, wait_s: float) -> list[str]:
    """The keys pressed within that time."""
    if keyboard is None:
        time.sleep(wait_s)
        return []
    until = time.monotonic() + wait_s
    keys: list[str] = []
    while (left := until - time.monotonic()) > 0 and select.select([keyboard], [], [], left)[0]:
        octets = os.read(keyboard.fileno(), 64)
        if not octets:  # the terminal has gone
            return ["quit"]
        keys += keys_in(octets.decode(errors="replace"))
    return keys


def keys_in(text: str) -> list[str]:
    """What a terminal sends, as names of keys."""
    keys = []
    while text:
        sequence = text[:3] if text[:3] in _KEYS else text[:1]
        text = text[len(sequence) :]
        keys.append(_KEYS.get(sequence, sequence))
    return keys
