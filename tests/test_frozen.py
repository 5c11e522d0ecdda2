"""`common.frozen.replace` is `dataclasses.replace` for frozen dataclasses with slots."""

import dataclasses

import pytest

from common.frozen import replace
from common.mh.messages import ProxyBindingUpdate, Status
from lmad.checks import Refusal


def test_changes_these_fields_and_no_other() -> None:
    pbu = ProxyBindingUpdate(sequence=1, lifetime=4, mn_ll_id=b"abc")
    changed = replace(pbu, sequence=2, contexts=())
    assert type(changed) is ProxyBindingUpdate
    assert changed == dataclasses.replace(pbu, sequence=2, contexts=())
    assert (pbu.sequence, changed.sequence, changed.mn_ll_id) == (1, 2, b"abc")


def test_the_copy_is_frozen_and_has_the_hash_of_its_equals() -> None:
    refusal = Refusal(Status.ACCEPTED, "none")
    changed = replace(refusal, reason="some")
    assert hash(changed) == hash(Refusal(Status.ACCEPTED, "some"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.reason = "other"  # type: ignore[misc]


def test_refuses_a_field_that_is_not_there() -> None:
    with pytest.raises(TypeError, match="Refusal has no why"):
        replace(Refusal(Status.ACCEPTED, "none"), why="because")  # type: ignore[call-arg]


def test_refuses_a_class_that_checks_its_values() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Positive:
        number: int

        def __post_init__(self) -> None:
            assert self.number > 0

    with pytest.raises(TypeError, match="checks itself"):
        replace(Positive(1), number=-1)
