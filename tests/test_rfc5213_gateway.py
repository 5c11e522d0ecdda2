"""docs/rfc5213-gateway.md: every rule names its tests, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parent / "docs" / "rfc5213-gateway.md").read_text()


@cache
def names_in(file: str) -> frozenset[str]:
    return frozenset(
        node.name
        for node in ast.parse((TESTS / file).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_every_rule_of_the_gateway_names_tests_that_exist() -> None:
    rows = [line.strip("|").split(" | ") for line in DOCUMENT.splitlines() if line.startswith("| 6.")]
    assert len(rows) >= 30
    for section, rule, named in rows:
        tests = re.findall(r"`([\w/]+\.py)::(\w+)`", named)
        assert tests, (section, rule)
        assert not [name for file, name in tests if name not in names_in(file)], (section, rule)
