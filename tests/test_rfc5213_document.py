"""docs/rfc5213.md: every rule names its tests, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent.joinpath("docs", "rfc5213.md").read_text()


def rows() -> list[list[str]]:
    """The cells of every row below a heading."""
    lines = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| section |")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@cache
def names_in(file: str) -> frozenset[str]:
    """The tests of a file: functions, and what a state machine is collected by."""
    path = TESTS / file
    body = ast.parse(path.read_text()).body if path.is_file() else []
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assigned = {
        name.id for node in body if isinstance(node, ast.Assign) for name in node.targets if hasattr(name, "id")
    }
    return frozenset(name for name in functions | assigned if name.lower().startswith("test"))


def test_every_rule_names_tests_that_exist() -> None:
    assert len(rows()) >= 50
    for section, rule, named in rows():
        tests = re.findall(r"`([\w/]+\.py)::(\w+)`", named)
        assert tests, f"{section} {rule}"
        missing = [f"{file}::{name}" for file, name in tests if name not in names_in(file)]
        assert not missing, f"{section} {rule}"


def test_every_rule_has_three_cells() -> None:
    assert {len(row) for row in rows()} == {3}
