"""Deadlines against the plainest thing that does the same, and that it does not grow with what is put off."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from common.deadlines import Deadlines

KEYS = st.sampled_from("abc")
MOMENTS = st.integers(0, 9) | st.just(-inf)
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, MOMENTS),
    st.tuples(st.just("discard"), KEYS, st.none()),
    st.tuples(st.just("due"), st.none(), MOMENTS),
)


@given(st.lists(STEPS, max_size=60))
def test_is_a_dict_of_moments_with_the_least_of_them(steps: list[tuple[str, str, float]]) -> None:
    deadlines: Deadlines[str] = Deadlines()
    plain: dict[str, float] = {}
    for step, key, moment in steps:
        match step:
            case "set":
                deadlines.set(key, moment)
                plain[key] = moment
            case "discard":
                deadlines.discard(key)
                plain.pop(key, None)
            case "due":
                came = deadlines.due(moment)
                first = min(plain.values(), default=inf)
                assert (came is not None) == (first <= moment)
                if came is not None:
                    assert plain.pop(came) == first
        assert deadlines.next() == min(plain.values(), default=inf)
        assert all((each in deadlines) == (each in plain) for each in "abc")


def test_what_is_put_off_again_and_again_takes_one_place() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for moment in range(10_000):
        deadlines.set("lifetime", 3600.0 + moment)
    assert len(deadlines._heap) == 1
    assert deadlines.next() == 13_599.0


def test_what_has_a_short_deadline_in_between_takes_two_places() -> None:
    """As a binding that is handed over again and again: a lifetime, the wait for the MN, a lifetime."""
    deadlines: Deadlines[str] = Deadlines()
    for now in range(0, 100_000, 100):
        deadlines.set("binding", now + 10.0)
        assert deadlines.next() == now + 10.0
        deadlines.set("binding", now + 3600.0)
        assert deadlines.next() == now + 3600.0
        assert len(deadlines._heap) <= 2
