"""One figure of `testbed bench`."""

from collections.abc import Callable
from typing import NamedTuple

Progress = Callable[[str], None]


class Row(NamedTuple):
    """`goal` is None where there is no figure to reach; `note` says what it was measured on, or is a part of."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    higher_is_better: bool = True
    note: str = ""
