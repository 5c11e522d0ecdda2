"""docs/rfc5213.md and docs/rfc5213-gateway.md: every rule names its tests, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from common.mh.messages import RevocationStatus, Status

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
DOCUMENTS = {"rfc5213.md": 65, "rfc5213-gateway.md": 34}  # and how many rules there are at least
HEADINGS = ("| section |", "| status |")
FIRST_REFUSAL = 128


def rows(document: str) -> list[list[str]]:
    """The cells of every row below a heading."""
    lines = [line for line in (DOCS / document).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not line.startswith(HEADINGS)]


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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_rule_names_tests_that_exist(document: str) -> None:
    assert len(rows(document)) >= DOCUMENTS[document]
    for section, rule, named in rows(document):
        tests = re.findall(r"`([\w/]+\.py)::(\w+)`", named)
        assert tests, f"{section} {rule}"
        missing = [f"{file}::{name}" for file, name in tests if name not in names_in(file)]
        assert not missing, f"{section} {rule}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_rule_has_three_cells(document: str) -> None:
    assert {len(row) for row in rows(document)} == {3}


@pytest.mark.parametrize(("prefix", "kind"), [("PBA", Status), ("BRA", RevocationStatus)])
def test_every_status_has_a_row(prefix: str, kind: type[Status] | type[RevocationStatus]) -> None:
    told = {int(cell[0].split()[1]) for cell in rows("rfc5213.md") if cell[0].startswith(f"{prefix} ")}
    assert told == {status.value for status in kind if status >= FIRST_REFUSAL}
