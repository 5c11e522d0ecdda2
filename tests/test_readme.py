"""README.md and docs name nothing that does not exist: commands, options, targets; README.md's paths are there."""

import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
DOCUMENTS = "\n".join([README, *(path.read_text() for path in sorted((REPOSITORY / "docs").glob("*.md")))])
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
SCRIPTS: dict[str, str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]


def command_of(script: str) -> click.Command:
    module, name = SCRIPTS[script].split(":")
    command = getattr(import_module(module), name)
    assert isinstance(command, click.Command)
    return command


def blocks_and_quotes() -> Iterator[str]:
    """What is set as code: indented lines without their comments, and what stands in backquotes."""
    for line in DOCUMENTS.splitlines():
        if line.startswith("    "):
            yield line.partition(" # ")[0].strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands() -> Iterator[tuple[str, list[str]]]:
    for text in blocks_and_quotes():
        words = text.split()
        program = words[0].removeprefix(".venv/bin/") if words else ""
        if program in SCRIPTS:
            yield program, words[1:]


def test_there_is_something_to_check() -> None:
    assert len(list(commands())) > 12


@pytest.mark.parametrize(("program", "words"), list(commands()), ids=str)
def test_commands_and_options_exist(program: str, words: list[str]) -> None:
    command = command_of(program)
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            assert word in command.commands, word
            command = command.commands[word]
        elif word.startswith("--") and word != "--help":
            options = [name for parameter in command.params for name in parameter.opts]
            assert word in options, word


def test_a_subject_of_show_can_be_shown() -> None:
    for program, words in commands():
        if words[:1] == ["show"]:
            subject = next(parameter for parameter in command_of(program).commands["show"].params)  # type: ignore[attr-defined]
            assert isinstance(subject.type, click.Choice)
            assert words[1] in subject.type.choices


def test_make_targets_exist() -> None:
    named = {match for text in blocks_and_quotes() for match in re.findall(r"^make ([a-z-]+)", text)}
    assert named
    assert named <= MAKE_TARGETS


def test_paths_exist() -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    quoted = [text for text in re.findall(r"`([^` ]+)`", README) if text.endswith(("/", ".py"))]
    assert linked
    assert quoted
    for path in (*linked, *quoted):
        found = (REPOSITORY / path).exists() or list(REPOSITORY.glob(f"*/{path}"))
        assert found or "*" in path, path


def test_files_of_the_documents_exist() -> None:
    named = set(re.findall(r"\b(?:common|lmad|magd|testbed|tests|docs|systemd)/[\w./-]+\.[a-z]+\b", DOCUMENTS))
    assert len(named) > 30
    example = {"lmad/handover/linger.py", "magd/handover/linger.py", "tests/test_linger.py"}  # docs/schemes.md
    assert sorted(path for path in named - example if not (REPOSITORY / path).exists()) == []
