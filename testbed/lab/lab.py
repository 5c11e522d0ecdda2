"""A lab that runs: the network with lmad and magd on it, configured in a private directory.

The measured run and the interactive lab are both this. A `Lab` lives as long as the process that made it; a `Visit`
(`visit.py`) is another process's view of it. All that a lab leaves on disk while it is up is
/run/context-reflector-lab/ID; lab.json there says where the namespaces are.
"""

import gc
import importlib
import json
import os
import random
import secrets
import select
import shutil
import signal
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from common.mh.messages import Feature
from common.schemes import SCHEMES
from testbed.lab.network import Air, Network
from testbed.lab.node import LabError, Node, Process
from testbed.lab.processor import first_come_first_served
from testbed.lab.readiness import Readiness
from testbed.lab.topology import HNP_POOL, LMAA, MobileNode
from testbed.lab.visit import LABS, STATE_FILE, STOP_TIMEOUT_S, LabSpec, View, Visit, start_time

_INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Lab(View):
    """A lab of this process's own; a context manager that brings it up and takes it down.

    `records` is where journals/ and logs/ go; `daemons_on` are processors that the daemons have to themselves. Within
    the context SIGTERM and SIGHUP raise SystemExit, as SIGINT raises KeyboardInterrupt, so that whatever ends the lab
    ends it in order.
    """

    def __init__(
        self,
        spec: LabSpec,
        lab_id: str | None = None,
        records: Path | None = None,
        daemons_on: Set[int] = frozenset(),
    ) -> None:
        super().__init__(lab_id or f"lab-{secrets.token_hex(3)}", spec)
        self.records = records or self.directory
        self._daemons_on = daemons_on
        self.daemons: dict[str, Process] = {}
        self.readiness: dict[str, Readiness] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._interruptible()
            self._own_directory()
            self.network = self._undo.enter_context(Network(self.topology, steered=bool(self._daemons_on)))
            self.namespaces = {name: node.path for name, node in self.network.nodes.items()}
            self._resolve_neighbours()
            self._start_daemons()
            self._write_state()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def nodes(self) -> dict[str, Node]:
        return self.network.nodes

    def down(self) -> None:
        """Stop and remove everything. Raises LabError, after all is removed, when a daemon did not end well."""
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)  # a second Ctrl-C must not cut it short
        try:
            self._undo.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)

    def require_daemons(self) -> None:
        """Raises LabError with its last words when a daemon has ended."""
        for daemon in self.daemons.values():
            daemon.require_alive()

    def wait(self) -> NoReturn:
        """Keep the lab until a signal comes (SystemExit, KeyboardInterrupt) or a daemon ends (LabError)."""
        while True:
            select.select([daemon.fileno() for daemon in self.daemons.values()], [], [])
            self.require_daemons()

    def _air(self) -> Air:
        return self.network.air

    def _interruptible(self) -> None:
        def leave(number: int, _frame: FrameType | None) -> NoReturn:
            raise SystemExit(128 + number)

        for number in _INTERRUPTIONS - {signal.SIGINT}:
            self._undo.callback(signal.signal, number, signal.signal(number, leave))

    def _own_directory(self) -> None:
        LABS.mkdir(parents=True, exist_ok=True)
        with suppress(LabError):  # none of that id, or one whose process is gone
            if not (visit := Visit(self.id)).alive():
                visit.down()
        try:
            self.directory.mkdir(mode=0o700)
        except FileExistsError:
            raise LabError(f"a lab {self.id} is up already") from None
        self._undo.callback(shutil.rmtree, self.directory)
        self._write_state()
        for name in ("journals", "logs"):
            (self.records / name).mkdir(parents=True, exist_ok=True)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "started": start_time(os.getpid()),
            "spec": asdict(self.spec),
            "namespaces": self.namespaces,
        }
        new = self.directory / f"{STATE_FILE}.new"
        new.write_text(json.dumps(state, indent=1))
        new.rename(self.directory / STATE_FILE)

    def _resolve_neighbours(self) -> None:
        """The core links are in use already: no first message waits for neighbour discovery, a round trip long."""
        for mag in self.topology.mags:
            self.run(mag, ["ping", "-6", "-n", "-q", "-c", "1", "-w", "10", str(LMAA)])

    def _start_daemons(self) -> None:
        programs = ("lma", *self.topology.mags)
        for package in ("lmad", "magd"):
            importlib.import_module(f"{package}.__main__")
        gc.collect()
        gc.freeze()  # the children's collectors need not walk, and so copy, what they share with us
        for node in programs:
            (self.directory / f"{node}.toml").write_text(self._configuration(node))
            self.readiness[node] = Readiness(self.directory / f"{node}.notify")
            self._undo.callback(self.readiness[node].close)
        self._undo.callback(self._stop_daemons)
        for node in programs:
            self._start_daemon(node)
        for node, daemon in self.daemons.items():
            self.readiness[node].wait(daemon)

    def _start_daemon(self, node: str) -> None:
        """As a service manager does, with the descriptors that an earlier life gave it to keep."""
        program = "lmad" if node == "lma" else "magd"
        main = importlib.import_module(f"{program}.__main__").main
        arguments = ["--config", str(self.directory / f"{node}.toml")]
        kept, notify = self.readiness[node].kept, self.readiness[node].path

        def daemon() -> None:
            first_come_first_served()
            if self._daemons_on:
                os.sched_setaffinity(0, self._daemons_on)
            os.environ["NOTIFY_SOCKET"] = str(notify)
            if kept:
                os.environ |= {
                    "LISTEN_PID": str(os.getpid()),
                    "LISTEN_FDS": str(len(kept)),
                    "LISTEN_FDNAMES": ":".join(kept),
                }
            main(arguments, prog_name=program)

        log = self.records / "logs" / f"{node}.log"
        self.daemons[node] = self.nodes[node].fork(program, daemon, log, list(kept.values()))

    def _stop_daemons(self) -> None:
        failed = [daemon for daemon in self.daemons.values() if daemon.ended()]  # nobody had asked them to
        running = [daemon for daemon in self.daemons.values() if daemon not in failed]
        for daemon in running:
            daemon.signal(signal.SIGTERM)
        failed += [daemon for daemon in running if not daemon.wait(STOP_TIMEOUT_S) or daemon.returncode]
        if failed:
            raise LabError("; ".join(f"{each.name} ended with {each.returncode}{each.last_words()}" for each in failed))

    def _configuration(self, node: str) -> str:
        journal = self.records / "journals" / f"{node}.jsonl"
        common = {
            "address": str(self.topology.addresses[node]),
            "scheme": self.spec.scheme,
            "control_socket": str(self.control_socket(node)),
            "journal": str(journal.absolute()),
        }
        mns = self.topology.mns
        hold: dict[str, object] = {"hold_packets": self.spec.hold_packets}
        if node == "lma":
            mags = [{"address": str(self.topology.addresses[mag])} for mag in self.topology.mags]
            reflector: dict[str, object] = {"downlink": self.spec.downlink, "order": self.spec.order, **hold}
            return _toml(
                {"lma": [{**common, "prefix_pools": [str(HNP_POOL)]}], "context_reflector": [reflector]},
                {"mag": mags, "mobile_node": [self._subscriber(number, mn) for number, mn in enumerate(mns)]},
            )
        interfaces = [mn.access_interface for mn in mns]
        others = [str(self.topology.addresses[mag]) for mag in self.topology.mags if mag != node]
        return _toml(
            {
                "mag": [{**common, "lma": str(LMAA), "access_interfaces": interfaces}],
                "context_reflector": [{"neighbours": others, **hold}],
                "fast_handover": [{"neighbours": others, **hold}],
                # RFC 5568 section 6.2.1.1: at least twice the usual round trip, here that between two MAGs.
                "fpmipv6": [{"peers": others, "hi_timeout": max(0.1, 4 * self.spec.rtt_s), **hold}],
            },
            {"mobile_node": [self._profile(mn) for mn in mns]},
        )

    def _subscriber(self, number: int, mn: MobileNode) -> dict[str, object]:
        if number >= len(self.topology.mns) - self.spec.fixed:
            prefixes = [str(prefix) for prefix in mn.fixed_prefixes(self.spec.prefixes)]
            return {"mn_id": mn.mn_id, "prefixes": prefixes}
        return {"mn_id": mn.mn_id, **({"prefix_count": self.spec.prefixes} if self.spec.prefixes > 1 else {})}

    def _profile(self, mn: MobileNode) -> dict[str, object]:
        profile: dict[str, object] = {"mn_id": mn.mn_id, "ll_id": mn.mac, "interface": mn.access_interface}
        if self.spec.context_octets and SCHEMES[self.spec.scheme].contexts:
            octets = random.Random(mn.mn_id).randbytes(self.spec.context_octets)
            path = self.directory / f"{mn.name}.context"
            path.write_bytes(octets)
            profile["opaque_context"] = [{"feature": Feature.FIRST_LOCAL.value, "file": str(path)}]
        return profile


def _toml(*tables: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """Tables, then arrays of tables; JSON's strings and lists are TOML's, an object in a list is an inline table."""
    lines = []
    for heading, group in zip(("[{}]", "[[{}]]"), tables, strict=True):
        for name, entries in group.items():
            for entry in entries:
                lines += [heading.format(name), *(f"{key} = {_value(value)}" for key, value in entry.items()), ""]
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(item)}' for key, item in value.items())} }}"
    return json.dumps(value)
