"""What is installed beside the programs: service units, manual pages."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from testbed.package import tables as tables_module
from testbed.package.manual import FILES, defaults, follows_reload, page, tables

ROOT = Path(__file__).parents[1]
ONLY_IN_THE_SOURCES = {"testbed/setup.sh"}  # besides what makes the package of them
PAGES = ("lmad.8", "magd.8", "lmactl.8", "magctl.8", "lmad.toml.5", "magd.toml.5")
WORST_EXPOSURE = 3.0


@pytest.mark.parametrize("name", PAGES)
def test_manual_pages_are_clean(name: str) -> None:
    text = page(name)
    lint = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"], input=text, capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout) == (0, "")


@pytest.mark.parametrize("daemon", FILES)
def test_the_manual_page_of_a_file_names_every_key(daemon: str) -> None:
    named = {
        (table.header.strip("[]"), key)
        for table in tables((ROOT / "systemd" / f"{daemon}.toml").read_text())
        for key, _, _ in table.keys
    }
    alternatives = {("mobile_node.opaque_context", "hex")}
    assert dict(defaults(FILES[daemon])).keys() - alternatives == named


@pytest.mark.parametrize("daemon", FILES)
def test_the_manual_page_of_a_file_says_what_follows_a_reload(daemon: str) -> None:
    said, table = set(), ""
    for line in page(f"{daemon}.toml.5").splitlines():
        if heading := re.match(r'\.SH "\[+([a-z_.0-9]+)\]+"', line):
            table = heading[1]
        elif name := re.match(r"\\fB(\w+)\\fR$", line):
            key = name[1]
        elif line.endswith("Follows a reload."):
            said.add((table, key))
    keys = {pair for pair in dict(defaults(FILES[daemon])) if follows_reload(daemon, *pair)}
    assert said == keys - {("mobile_node.opaque_context", "hex")}
    assert ({"lmad": "lma", "magd": "mag"}[daemon], "heartbeat_interval") in said


def test_the_manual_page_of_a_control_program_says_what_options_mean() -> None:
    text = page("lmactl.8")
    assert "\\fBrevoke\\fR [\\fIMN_ID\\fR] [\\fB\\-\\-mag\\fR \\fIADDRESS\\fR]" in text
    assert "\\fB\\-\\-mag\\fR \\fIADDRESS\\fR: every session at the MAG with this address." in text


@pytest.mark.parametrize("daemon", FILES)
def test_units_are_clean_and_confined(daemon: str, tmp_path: Path) -> None:
    unit = tmp_path / f"{daemon}.service"
    # Not installed here: the one in the venv takes its place.
    unit.write_text((ROOT / "systemd" / unit.name).read_text().replace("/usr/sbin/", f"{ROOT}/.venv/bin/"))
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    said = [line for line in verify.stderr.splitlines() if daemon in line]
    assert (verify.returncode, said) == (0, [])
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, check=True
    )
    [exposure] = re.findall(rf"Overall exposure level for {unit.name}: ([0-9.]+)", security.stdout)
    assert float(exposure) < WORST_EXPOSURE
    capabilities = re.findall(r"^(?:Ambient|Bounding)?Capabilit.*=(.*)$", unit.read_text(), re.MULTILINE)
    assert set(capabilities) == {"CAP_NET_ADMIN CAP_NET_RAW"}


def test_the_units_differ_only_where_the_daemons_do() -> None:
    lmad = (ROOT / "systemd/lmad.service").read_text().replace("lmad", "magd").splitlines()
    magd = (ROOT / "systemd/magd.service").read_text().splitlines()
    more = [line for line in magd if line not in lmad]
    assert more == [
        "Description=Proxy Mobile IPv6 mobile access gateway",
        "# Of access interfaces: addr_gen_mode, ignore_routes_with_linkdown.",
        "ReadWritePaths=/proc/sys/net",
        "RestrictAddressFamilies=AF_UNIX AF_INET6 AF_NETLINK AF_PACKET",
    ]


def test_the_tables_for_operators_are_true() -> None:
    assert tables_module.DOCUMENT.read_text() == tables_module.written(), (
        "run: .venv/bin/python -m testbed.package.tables"
    )


def test_every_metric_and_kernel_drop_is_explained() -> None:
    text = tables_module.DOCUMENT.read_text()
    sources = {path: path.read_text() for path in (ROOT / "common").rglob("*.py")}
    metrics = re.findall(
        r'(?:_counter\(\n?\s*|Gauge\w+\(f"\{PREFIX\}_|Counter\w+\(\n?\s*f"\{PREFIX\}_|Histogram\w+\(\n?\s*f"\{PREFIX\}_)"?([a-z_]+)"',
        sources[ROOT / "common/exposition.py"],
    )
    assert len(metrics) == 10
    for name in metrics:
        assert f"`context_reflector_{name}" in text, name
    rules = "".join(text for path, text in sources.items() if path.parent.name == "dataplane")
    drops = re.findall(r"counter ([a-z_]+) \{", rules)
    for name in {drop.replace("_", "-") for drop in drops}:
        assert f"`{name}`" in text, name


def test_what_is_no_python_is_installed_with_the_packages() -> None:
    """The report's template, the guest's script: a lab that was installed needs them, too."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    said = {f"{package}/{name}" for package, names in declared.items() for name in names}
    sources = [path for each in ("common", "lmad", "magd", "testbed") for path in (ROOT / each).rglob("*")]
    others = {
        str(path.relative_to(ROOT))
        for path in sources
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.parent != ROOT / "testbed/package"
    }
    assert said == others - ONLY_IN_THE_SOURCES
