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
from lmad.config import RELOADABLE as LMAD_RELOADABLE
from lmad.config import LmadConfig
from magd.config import RELOADABLE as MAGD_RELOADABLE
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
RELOADABLE = {"lmad": LMAD_RELOADABLE, "magd": MAGD_RELOADABLE}
AT_ONCE = "Follows a reload."
EXIT_STATUS = "0: done. 1: refused or failed, with one line that says why. 2: bad usage or configuration."
ENVIRONMENT = {
    "LOG_LEVEL": "DEBUG, INFO (the default), WARNING or ERROR: what is less is not logged.",
    "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID": "Where systemd(1) hears that the daemon is ready and that it lives.",
    "LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID": "The descriptors of packet queues that systemd(1) has kept from an "
    "earlier life of the daemon (FileDescriptorStoreMax=).",
}
SERVICE = {
    "lmad": """The anchor gives mobile nodes their home network prefixes, is the router to these, and sends what is for
a mobile node down the tunnel to the gateway (magd(8)) that it is at. It must be the router to the prefix pools.""",
    "magd": """The gateway notices that a mobile node comes or leaves, tells the anchor (lmad(8)), forwards the node's
packets through a tunnel to it, and is the node's default router: the same on every gateway.""",
}
ABOUT_DAEMONS = """It needs CAP_NET_ADMIN and CAP_NET_RAW, IPv6 forwarding (net.ipv6.conf.all.forwarding = 1) and the
kernel modules ip6_tunnel and nf_tables. It serves in the foreground, tells systemd(1) when it is ready and that it
lives, and removes at the end what it has installed in the kernel, unless \\fBon_stop\\fR says that it is to be kept.
Log entries have the fields EVENT, MN_ID, PEER and DETAIL."""
SIGNALS = {
    "SIGTERM, SIGINT": 'End. With \\fBon_stop = "remove"\\fR nothing is left in the kernel; with \\fB"keep"\\fR, '
    "and after any other end of a daemon with a \\fBstate_directory\\fR, packets go on and "
    "the next start adopts all that is there.",
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
        f"/var/lib/context-reflector/{name}.sqlite3": "what outlives the daemon, if \\fBstate_directory\\fR says so",
        f"/var/lib/context-reflector/{name}.ahead": "changes that are not in that database yet",
        f"/var/lib/context-reflector/{name}.unreadable": "a database that could not be read, set aside",
        f"/var/log/context-reflector/{name}.jsonl": "the journal, if \\fBjournal\\fR says so",
    }
    return (
        _section(
            "SYNOPSIS",
            f"\\fB{name}\\fR \\fB--config\\fR \\fIFILE\\fR [\\fB--check\\fR]",
            f"\\fB{name}\\fR \\fB--replay\\fR \\fIJOURNAL\\fR",
        )
        + _section("DESCRIPTION", SERVICE[name], ABOUT_DAEMONS)
        + _list("OPTIONS", _options(command))
        + _list("SIGNALS", SIGNALS)
        + _list("ENVIRONMENT", ENVIRONMENT)
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
        flags = " ".join(f"[{_option(p)}]" for p in each.params if isinstance(p, click.Option))
        meanings = [f"{_option(p)}: {p.help}." for p in each.params if isinstance(p, click.Option) and p.help]
        commands[f"\\fB{each.name}\\fR {usage} {flags}".strip()] = "\n".join([each.help or "", *meanings])
    return (
        _section("SYNOPSIS", f"\\fB{name}\\fR [\\fB--socket\\fR \\fIPATH\\fR] \\fICOMMAND\\fR ...")
        + _section("DESCRIPTION", command.help or "", "Root may do so, and members of the daemon's group.")
        + _list("OPTIONS", _options(command))
        + _list("COMMANDS", commands)
        + _list("ENVIRONMENT", {f"{name.upper()}_SOCKET": "the control socket, if \\fB--socket\\fR does not say."})
        + _list("FILES", {f"/run/context-reflector/{daemon}.sock": "the control socket, if nothing else is said"})
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
            f"\\fBsystemctl reload {daemon}\\fR (SIGHUP) reads the file again. A key of which it says "
            f"\\fI{AT_ONCE}\\fR then changes at once; any other waits for a restart.",
        )
    ]
    known = dict(defaults(FILES[daemon]))
    for table in tables(text):
        keys = {}
        for key, example, comment in table.keys:
            default = known[table.header.strip("[]"), key]
            said = f"Example: {example}." if default in (msgspec.NODEFAULT, None, ()) else f"Default: {_toml(default)}."
            said += f" {AT_ONCE}" if follows_reload(daemon, table.header.strip("[]"), key) else ""
            keys[f"\\fB{key}\\fR"] = f"{comment[:1].upper()}{comment[1:]}. {said}" if comment else said
        parts.append(_list(table.header, keys, table.text))
    return "".join(parts) + _section("SEE ALSO", f"{daemon}(8), /usr/share/doc/context-reflector/operating.md")


def follows_reload(daemon: str, table: str, key: str) -> bool:
    """Whether SIGHUP is enough for this key, or for the array of tables that it is in."""
    return bool(RELOADABLE[daemon] & {f"{table}.{key}", table.partition(".")[0]})


def _options(command: click.Command) -> dict[str, str]:
    options = {}
    for each in command.params:
        if isinstance(each, click.Option):
            options[_option(each)] = f"{each.help or ''}."
    return options | {"\\fB--help\\fR": "say what there is."}


def _option(option: click.Option) -> str:
    value = option.metavar or option.make_metavar(click.Context(click.Command("")))
    return f"\\fB{option.opts[0]}\\fR" + ("" if option.is_flag else f" \\fI{value}\\fR")


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
