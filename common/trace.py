"""Following one mobile node: everything that the journal hears of it, as rows for `lmactl trace` and `magctl trace`."""

import time
from collections.abc import Callable
from dataclasses import fields

from common.control import Emit, Stream
from common.journal import Journal
from common.mh.messages import ContextData, Message

_SAID_ALREADY = frozenset({"mn_id"})
PEER_OF = {"received": "from", "sent": "to"}


def trace(journal: Journal, mn_id: str) -> Stream:
    """Rows `{"time", "event", "message", "peer", "detail"}`, the time in seconds since 1970, from now on."""

    def follow(emit: Emit) -> Callable[[], None]:
        def listener(event: str, message: Message | None, said: dict[str, object]) -> None:
            if str(said.get("mn_id")) == mn_id:
                emit(row(event, message, said))

        journal.listeners.append(listener)
        return lambda: journal.listeners.remove(listener)

    return Stream(follow)


def row(event: str, message: Message | None, said: dict[str, object]) -> dict[str, object]:
    peer = said.get("peer")
    rest = {name: value for name, value in said.items() if name not in ("mn_id", "peer") and value not in (None, "")}
    return {
        "time": time.time(),
        "event": event,
        "message": message.name if message else None,
        "peer": str(peer) if peer else None,
        "detail": _content(message) if message else " ".join(str(value) for value in rest.values()),
    }


def _content(message: Message) -> str:
    """The fields of a message that say something; of a context what it holds, not the octets."""
    values = ((field.name, getattr(message, field.name)) for field in fields(message))
    return " ".join(
        f"{name}={_text(value)}" for name, value in values if name not in _SAID_ALREADY and value not in (None, (), b"")
    )


def _text(value: object) -> str:
    match value:
        case ContextData(feature, data):
            return f"{feature:#06x}:{len(data)}-octets"
        case tuple():
            return ",".join(map(_text, value))
        case bytes():
            return value.hex(":")
    return str(value).replace(" ", "")


def line(row: dict[str, object]) -> str:
    """A row as a person reads it."""
    moment = float(str(row["time"]))
    clock = time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1e6):06d}"
    what = [str(row["event"]), *([str(row["message"])] if row["message"] else [])]
    peer = [PEER_OF.get(what[0], "with"), str(row["peer"])] if row["peer"] else []
    return " ".join([clock, *what, *peer, *([str(row["detail"])] if row["detail"] else [])])
