"""One figure of `testbed bench`."""

from typing import NamedTuple


class Row(NamedTuple):
    """`goal` is None where there is no figure to reach; what is compared with the paper says so in `note`."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    higher_is_better: bool = True
    note: str = ""
