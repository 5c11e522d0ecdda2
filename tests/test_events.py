"""Every event that the code can note is in the table of events, every row can happen, every reason is explained."""

import ast
from pathlib import Path

from common.events import EVENTS, pattern

ROOT = Path(__file__).parents[1]
SOURCES = [path for directory in ("common", "lmad", "magd") for path in (ROOT / directory).rglob("*.py")]
ELSEWHERE = {"unknown-mh-type"}  # the reason of an exception


def _names(value: ast.expr) -> set[str]:
    """The event names that an expression can be; of an f-string, what stands before its first value and a `*`."""
    match value:
        case ast.Constant(value=str(name)):
            return {name}
        case ast.IfExp(body=body, orelse=orelse):
            return _names(body) | _names(orelse)
        case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
            return {f"{start}*"}
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(end))]):
            return {f"*{end}"}
    return set()


def noted() -> dict[str, Path]:
    """Event name, or a pattern of names, to a file that notes it."""
    found: dict[str, Path] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Note"), args=[name, *_]):
                    found |= dict.fromkeys(_names(name), path)
                case ast.Assign(targets=[ast.Name(id="reason")], value=name) if path.parent.name == "lmad":
                    found |= dict.fromkeys(_names(name), path)
    return found


def test_every_event_of_the_code_is_in_the_table() -> None:
    for name, path in noted().items():
        if name.startswith("*"):
            assert any(key.endswith(name[1:]) for key in EVENTS), f"{name} of {path} is missing in common/events.py"
        else:
            assert pattern(name), f"{name} of {path} is missing in common/events.py"


def test_every_row_of_the_table_is_noted_somewhere() -> None:
    names = noted()
    endings = tuple(name[1:] for name in names if name.startswith("*"))
    assert [key for key in EVENTS if key not in names and key not in ELSEWHERE and not key.endswith(endings)] == []


def reasons() -> set[str]:
    """Those by which a request is refused where the status does not say all."""
    found: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Refusal"), args=[_, reason]):
                    found |= _names(reason)
                case ast.Call(func=ast.Name(id="ContextRefused"), args=[reason, *_]):
                    found |= _names(reason)
                case ast.Tuple(elts=[_, ast.Attribute(value=ast.Name(id="Status")), reason]):  # objections
                    found |= _names(reason)
    return found


def test_every_reason_of_a_refusal_is_explained() -> None:
    text = "".join((ROOT / "docs" / name).read_text() for name in ("operating.md", "protocol.md"))
    found = reasons()
    assert {"no-prefix-left", "unknown-nmag", "context-too-large", "missing-nmag"} <= found
    assert {reason for reason in found if f"`{reason}`" not in text} == set()
