"""The schemes are registered alike everywhere, and docs/schemes.md is right about how to add one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from common.schemes import SCHEMES
from lmad.handover import SCHEMES as AT_THE_ANCHOR
from magd.handover import SCHEMES as AT_THE_GATEWAY

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT.joinpath("docs", "schemes.md").read_text()
SOURCES = ("common", "lmad", "magd", "testbed", "tests", "systemd", "pyproject.toml")


def test_a_scheme_is_the_same_everywhere() -> None:
    assert SCHEMES.keys() == AT_THE_ANCHOR.keys() == AT_THE_GATEWAY.keys()
    for name, scheme in SCHEMES.items():
        assert AT_THE_GATEWAY[name].predictive == scheme.predictive, name


def test_the_document_names_every_scheme_and_every_hook() -> None:
    for name in SCHEMES:
        assert f"**{name}.**" in DOCUMENT
    for half in (AT_THE_ANCHOR["pmipv6"], AT_THE_GATEWAY["pmipv6"]):
        hooks = {name for name in vars(half) if not name.startswith("_")}
        assert {hook for hook in hooks if not re.search(rf"`{hook}\b", DOCUMENT)} == set()


def test_a_fifth_scheme_is_two_small_files_and_its_name(tmp_path: Path) -> None:
    """What docs/schemes.md says is done to a copy of the sources; nothing else in it changes."""
    for source in SOURCES:
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / source)
    files = dict(re.findall(r"^```python (\S+)\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE))
    assert files.keys() == {"lmad/handover/linger.py", "magd/handover/linger.py", "tests/test_linger.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    rows = re.findall(r"^\| `(\S+\.py)` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert [name for name, _ in rows] == [f"{where}.py" for where in REGISTERED]
    for name, cell in rows:
        register(tmp_path / name, re.findall("`([^`]+)`", cell))

    run(tmp_path, "ruff", "check", "-q", *files)
    run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_linger.py", "tests/test_state_machine.py")
    for daemon in ("lmad", "magd"):
        configuration = (tmp_path / "systemd" / f"{daemon}.toml").read_text()
        (tmp_path / "linger.toml").write_text(re.sub('scheme = "[^"]*"', 'scheme = "linger"', configuration))
        run(tmp_path, daemon, "--config", "linger.toml", "--check")
    assert "linger" in run(tmp_path, "testbed", "handover", "--help")


REGISTERED = ("common/schemes", "lmad/handover/__init__", "magd/handover/__init__")


def register(path: Path, additions: list[str]) -> None:
    """Imports go to the imports, entries to the end of SCHEMES."""
    text = path.read_text()
    for line in additions:
        if line.startswith("from "):
            text = text.replace("\nfrom ", f"\n{line}\nfrom ", 1)
        else:
            before, after = text[: text.index("SCHEMES:")], text[text.index("SCHEMES:") :]
            text = before + after.replace("\n}", f"\n    {line}\n}}", 1)
    path.write_text(text)


def run(directory: Path, module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
