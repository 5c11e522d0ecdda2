"""The manual pages, made of what is there anyway: the command lines (click) and the commented configuration files.

`python -m testbed.package.manual lmad.8` prints one. What a command or key does is said once, where it is defined.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import click
import msgspec

import lmad.__main__
import lmad.ctl
import magd.__main__
import magd.ctl
from lmad.config import LmadConfig
from magd.config import MagdConfig

SYSTEMD = Path(__file__).parents[2] / "systemd"
DAEMONS = {
    "lmad": (lmad.__main__.main, "local mobility anchor of Proxy Mobile IPv6"),
    "magd": (magd.__main__.main, "mobile access gateway of Proxy Mobile IPv6"),
}
CONTROLS: dict[str, tuple[click.Command, str]] = {
    "lmactl": (lmad.ctl.main, "lmad"),
    "magctl": (magd.ctl.main, "magd"),
}
FILES: dict[str, type[msgspec.Struct]] = {"lmad": LmadConfig, "magd": MagdConfig}
EXIT_STATUS = "0: done. 1: refused or failed, with one line that says why. 2: bad usage or configuration."
SERVICE = {
    "lmad": """The anchor gives mobile nodes their home network prefixes, is the router to these, and sends what is for
a mobile node down the tunnel to the gateway (magd(8)) that it is at. It must be the router to the prefix pools.""",
    "magd": """The gateway notices that a mobile node comes or leaves, tells the anchor (lmad(8)), forwards the node's
packets through a tunnel to it, and is the node's default router: the same on every gateway.""",
}
ABOUT_DAEMONS = """It needs CAP_NET_ADMIN and CAP_NET_RAW, IPv6 forwarding (net.ipv6.conf.all.forwarding = 1) and the
kernel modules ip6_tunnel and nf_tables. It serves in the foreground, tells systemd(1) when it is ready and that it
lives, and removes at the end what it has installed in the kernel. Log entries have the fields EVENT, MN_ID, PEER and
DETAIL."""
SIGNALS = {
    "SIGTERM, SIGINT": "End, and leave nothing behind.",
    "SIGHUP": "Read the configuration file again. What can change at once does; what cannot is named in the log and by "
    "\\fBshow configuration\\fR of the control program. A wrong file changes nothing.",
}


@dataclass
class Table:
    """A table of a configuration file: its header as written, what is said about it, its keys."""

    header: str
    text: str = ""
    keys: list[tuple[str, str, str]] = field(default_factory=list)  # key, example, text


def tables(text: str) -> Iterator[Table]:
    """The tables of a commented file; commented lines `# key = value` count as well."""
    table: Table | None = None
    for line in text.splitlines():
        if header := re.match(r"(?:# )?(\[+[a-z0-9_.]+\]+)\s*(?:# (.*))?$", line):
            if table:
                yield table
            table = Table(header[1], header[2] or "")
        elif table and (key := re.match(r"(?:# )?([a-z0-9_]+) = (\"[^\"]*\"|\[[^\]]*\]|\S+)\s*(?:# (.*))?$", line)):
            table.keys.append((key[1], key[2], key[3] or ""))
    if table:
        yield table


def defaults(kind: type[msgspec.Struct], table: str = "") -> Iterator[tuple[tuple[str, str], object]]:
    """(table, key) and the default of every key that a configuration can have."""
    for each in msgspec.structs.fields(kind):
        inner = [part for part in (each.type, *get_args(each.type)) if isinstance(part, type)]
        structs = [part for part in inner if issubclass(part, msgspec.Struct)]
        if structs:
            yield from defaults(structs[0], f"{table}.{each.name}".lstrip("."))
        else:
            yield (table, each.name), each.default


def _toml(value: object) -> str:
    return json.dumps(list(map(str, value)) if isinstance(value, tuple) else value, default=str)


def roff(text: str) -> str:
    """Plain text as roff says it."""
    escaped = re.sub(r"\\(?!f[BIR])", r"\\e", text).replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in escaped.split("\n"))


def page(name: str) -> str:
    """The source of the page called so, such as lmad.8."""
    title, _, section = name.rpartition(".")
    if section == "5":
        body, purpose = _file(title.removesuffix(".toml")), f"configuration of {title.removesuffix('.toml')}(8)"
    elif title in DAEMONS:
        body, purpose = _daemon(title), DAEMONS[title][1]
    else:
        body, purpose = _control(title), f"ask and steer a running {CONTROLS[title][1]}(8)"
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    head = f'.TH {title.upper()} {section} "{date}" "Context Reflector" "System Administration"'
    return f"{head}\n.SH NAME\n{title} \\- {roff(purpose)}\n{body}"


def _daemon(name: str) -> str:
    command, _ = DAEMONS[name]
    control = next(control for control, (_, daemon) in CONTROLS.items() if daemon == name)
    files = {
        f"/etc/context-reflector/{name}.toml": f"the configuration, see {name}.toml(5)",
        f"/run/context-reflector/{name}.sock": f"the control socket, for {control}(8)",
        f"/lib/systemd/system/{name}.service": "the service",
    }
    return (
        _section("SYNOPSIS", f"\\fB{name}\\fR \\fB--config\\fR \\fIFILE\\fR [\\fB--check\\fR]")
        + _section("DESCRIPTION", SERVICE[name], ABOUT_DAEMONS)
        + _list("OPTIONS", _options(command))
        + _list("SIGNALS", SIGNALS)
        + _list(
            "ENVIRONMENT", {"LOG_LEVEL": "DEBUG, INFO (the default), WARNING or ERROR: what is less is not logged."}
        )
        + _list("FILES", files)
        + _section("EXIT STATUS", EXIT_STATUS)
        + _section("SEE ALSO", f"{control}(8), {name}.toml(5), /usr/share/doc/context-reflector/operating.md, RFC 5213")
    )


def _control(name: str) -> str:
    command, daemon = CONTROLS[name]
    assert isinstance(command, click.Group)
    commands = {}
    for each in command.commands.values():
        usage = " ".join(_argument(parameter) for parameter in each.params if isinstance(parameter, click.Argument))
        flags = " ".join(f"[\\fB{p.opts[0]}\\fR]" for p in each.params if isinstance(p, click.Option))
        commands[f"\\fB{each.name}\\fR {usage} {flags}".strip()] = each.help or ""
    return (
        _section("SYNOPSIS", f"\\fB{name}\\fR [\\fB--socket\\fR \\fIPATH\\fR] \\fICOMMAND\\fR ...")
        + _section("DESCRIPTION", command.help or "", "Root may do so, and members of the daemon's group.")
        + _list("OPTIONS", _options(command))
        + _list("COMMANDS", commands)
        + _list("ENVIRONMENT", {f"{name.upper()}_SOCKET": "the control socket, if \\fB--socket\\fR does not say."})
        + _section("EXIT STATUS", EXIT_STATUS)
        + _section("SEE ALSO", f"{daemon}(8), /usr/share/doc/context-reflector/operating.md")
    )


def _file(daemon: str) -> str:
    text = (SYSTEMD / f"{daemon}.toml").read_text()
    parts = [
        _section(
            "DESCRIPTION",
            f"/etc/context-reflector/{daemon}.toml is a TOML file. Times are in seconds, sizes in octets. A key that "
            f"is not listed here, and a value that cannot be, is refused with the file, the key and the reason; "
            f"\\fB{daemon} --check\\fR looks without serving. A table in double brackets may be there many times.",
        )
    ]
    known = dict(defaults(FILES[daemon]))
    for table in tables(text):
        keys = {}
        for key, example, comment in table.keys:
            default = known[table.header.strip("[]"), key]
            said = f"Example: {example}." if default in (msgspec.NODEFAULT, None, ()) else f"Default: {_toml(default)}."
            keys[f"\\fB{key}\\fR"] = f"{comment[:1].upper()}{comment[1:]}. {said}" if comment else said
        parts.append(_list(table.header, keys, table.text))
    return "".join(parts) + _section("SEE ALSO", f"{daemon}(8), /usr/share/doc/context-reflector/operating.md")


def _options(command: click.Command) -> dict[str, str]:
    options = {}
    for each in command.params:
        if isinstance(each, click.Option):
            value = "" if each.is_flag else f" \\fI{each.make_metavar(click.Context(command))}\\fR"
            options[f"\\fB{each.opts[0]}\\fR{value}"] = f"{each.help or ''}."
    return options | {"\\fB--help\\fR": "say what there is."}


def _argument(argument: click.Argument) -> str:
    if isinstance(argument.type, click.Choice):
        return "{" + ", ".join(argument.type.choices) + "}"
    name = f"\\fI{(argument.name or '').upper()}\\fR"
    return name if argument.required else f"[{name}]"


def _section(title: str, *paragraphs: str) -> str:
    return f'.SH "{title}"\n' + "\n.PP\n".join(roff(paragraph) for paragraph in paragraphs) + "\n"


def _list(title: str, entries: dict[str, str], text: str = "") -> str:
    lead = f"{roff(text[:1].upper() + text[1:])}.\n" if text else ""
    return f'.SH "{title}"\n{lead}' + "".join(f".TP\n{roff(name)}\n{roff(said)}\n" for name, said in entries.items())


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1]))
