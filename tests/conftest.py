"""What holds for every test."""

import signal
from itertools import groupby

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a machine that is shared: no test is to fail because of it.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Who is started in the background by a shell has SIGINT ignored, and so have those whom it starts: tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", default="1/1", metavar="K/N", help="run the K-th of N parts, each of whole files")


@pytest.hookimpl(trylast=True)  # of what is left by the other options
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, parts = map(int, config.getoption("part").split("/"))
    files = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
    shares: list[list[pytest.Item]] = [[] for _ in range(parts)]
    for file in sorted(files, key=len, reverse=True):
        min(shares, key=len).extend(file)
    items[:] = shares.pop(part - 1)
    config.hook.pytest_deselected(items=[item for share in shares for item in share])
