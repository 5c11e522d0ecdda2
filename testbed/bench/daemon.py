"""lmad as a whole, on its socket: how long a MAG waits for its answer, one question at a time.

A real lmad with its data plane on one node, on the other the signalling of two MAGs; packets flow nowhere. Between a
question's first octet out and its answer in there are both ends' kernels, lmad and what it changes in its kernel.
"""

import importlib
import json
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv6Address
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from common.mh.codec import decode, encode
from common.mh.messages import FastProxyBindingAck, Message, ProxyBindingAck
from common.mh.raw_socket import MhSockets, receive
from testbed.bench.core import LMAA, MAGS, POOL, SCRIPTS, Said, Script, mn_id, registration
from testbed.bench.nodes import two_nodes
from testbed.bench.row import Progress, Row
from testbed.lab.node import LabError
from testbed.lab.readiness import Readiness

MNS = 50
ROUNDS = 4
PATIENCE_S = 10.0


def lmad_rows(progress: Progress) -> list[Row]:
    """Each scheme: every question that has an answer, that is (de-)registrations and Fast PBUs."""
    return [row for scheme in SCRIPTS for row in _scheme_rows(scheme, progress)]


def _scheme_rows(scheme: str, progress: Progress) -> Iterator[Row]:
    progress(f"lmad on its socket: {scheme}")
    waits_s: list[float] = []
    with _running(scheme) as mags:
        for number in range(1, MNS + 1):
            mags.talk(_arrival(number))
        began_s = time.perf_counter()
        for pmag, nmag in islice(cycle(pairwise((*MAGS, MAGS[0]))), ROUNDS):
            for number in range(1, MNS + 1):
                waits_s += mags.talk(SCRIPTS[scheme](number, pmag, nmag, time.time()))
        took_s = time.perf_counter() - began_s
    yield Row(f"lmad-answer-{scheme}-median", 1e6 * median(waits_s), "us", None, False)
    yield Row(f"lmad-answer-{scheme}-p99", 1e6 * quantiles(waits_s, n=100)[-1], "us", None, False)
    yield Row(f"lmad-handovers-{scheme}-one-at-a-time", ROUNDS * MNS / took_s, "handovers/s")


def _arrival(number: int) -> Script:
    yield Said(MAGS[0], registration(number, time.time(), 0), 1)


class _Mags:
    """The MAGs' sockets, by address."""

    def __init__(self, sockets: dict[IPv6Address, socket.socket]) -> None:
        self._sockets = sockets

    def talk(self, script: Script) -> list[float]:
        """Say what the script says, one after the other; seconds until each answer, where there is one to wait for."""
        waits_s = []
        said = next(script)
        while True:
            octets = encode(said.message)
            began_s = time.perf_counter()
            self._sockets[said.mag].sendto(octets, (str(LMAA), 0))
            heard: list[Message] = []
            while said.answers and not any(isinstance(each, ProxyBindingAck | FastProxyBindingAck) for each in heard):
                heard += self._hear()
            if said.answers:
                waits_s.append(time.perf_counter() - began_s)
            while len(heard) < said.answers:
                heard += self._hear()
            try:
                said = script.send(heard)
            except StopIteration:
                return waits_s

    def _hear(self) -> list[Message]:
        readable, _, _ = select.select(list(self._sockets.values()), [], [], PATIENCE_S)
        if not readable:
            raise LabError(f"lmad does not answer within {PATIENCE_S:g} s")
        return [decode(receive(each)[0]) for each in readable]


@contextmanager
def _running(scheme: str) -> Iterator[_Mags]:
    """lmad, with the scheme, until the end of the context."""
    main = importlib.import_module("lmad.__main__").main
    with ExitStack() as stack:
        lma, mag = stack.enter_context(two_nodes())
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="context-reflector-bench-")))
        file, log = directory / "lmad.toml", directory / "lmad.log"
        file.write_text(configuration(scheme, directory))
        readiness = Readiness(directory / "notify")
        stack.callback(readiness.close)

        def daemon() -> None:
            os.environ["NOTIFY_SOCKET"] = str(readiness.path)
            main(["--config", str(file)], prog_name="lmad")

        process = lma.fork("lmad", daemon, log)
        readiness.wait(process)
        with mag.inside():
            sockets = {mag: stack.enter_context(MhSockets(mag, [LMAA])).sockets()[-1] for mag in MAGS}
        yield _Mags(sockets)
        process.stop()


def configuration(scheme: str, directory: Path) -> str:
    """lmad.toml of a domain with these MAGs and MNs; its control socket is in the directory."""
    lines = [
        "[lma]",
        f'address = "{LMAA}"',
        f'scheme = "{scheme}"',
        f'prefix_pools = ["{POOL}"]',
        f"control_socket = {json.dumps(str(directory / 'lmad.sock'))}",
        *(f'[[mag]]\naddress = "{mag}"' for mag in MAGS),
        *(f'[[mobile_node]]\nmn_id = "{mn_id(number)}"' for number in range(1, MNS + 1)),
    ]
    return "\n".join(lines)
