"""A domain whose clocks are set: back by an hour, say, once they hear of the right time."""

import pytest

from lmad.binding_cache import State
from tests import domain as domains
from tests.domain import mag_address
from tests.test_context_reflector import MN, assert_nothing_wrong, begin


@pytest.mark.parametrize("seconds", [-3600.0, -0.8, 3600.0])
def test_all_clocks_of_the_domain_are_set(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Refreshes and handovers go on, and of two messages the later one still counts."""
    difference = 0.0
    real = domains.utc
    monkeypatch.setattr(domains, "utc", lambda now: real(now) + difference)
    domain = begin()
    domain.traffic(0.02, until=300.0)
    domain.run(2.0)
    difference = seconds
    domain.run(299.0)  # the lifetime is 300 s: it was extended meanwhile
    assert not [note for note in domain.notes() if note.startswith(("refused-", "pbu-refused-"))]
    assert domain.lma.binding_cache.of(MN)[0].state is State.REGISTERED
    domain.leave()
    domain.run(299.05)
    domain.arrive(2)
    domain.run(320.0)
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa) == (State.REGISTERED, mag_address(2))
    assert bce.timestamp is not None
    assert bce.timestamp.utc == pytest.approx(real(299.05) + seconds, abs=0.2)
    assert_nothing_wrong(domain)
