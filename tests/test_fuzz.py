"""Hostile octets: a share of what `testbed fuzz` does, seeded; and what keeps a flood out of the log."""

from ipaddress import IPv6Address

import pytest

from common.actions import Note
from common.logs import NoteLog
from common.schemes import SCHEMES
from testbed.fuzz.run import run

ONE = IPv6Address("2001:db8::1")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("daemon", ["lmad", "magd"])
def test_nothing_comes_out_of_mutated_messages_but_what_has_a_name(daemon: str, scheme: str) -> None:
    done = run(daemon, scheme, 2000, seed=5213)
    assert len(done.reasons) > 10  # they are wrong in many ways
    assert done.outcomes["accepted"] > 0  # and some of them right
    assert done.outcomes["ignored"] > 0
    assert done.entries <= 24


def test_a_refusal_is_worth_a_line_a_second_an_attachment_always(caplog: pytest.LogCaptureFixture) -> None:
    log = NoteLog()
    with caplog.at_level("INFO", "context_reflector"):
        for moment in range(100):
            log.note(Note("malformed-truncated", peer=ONE), moment / 50)
            log.note(Note("attached"), moment / 50)
    said = [record.getMessage() for record in caplog.records]
    assert said.count("attached") == 100
    assert [line for line in said if "malformed" in line] == [
        f"malformed-truncated peer={ONE}",
        f"malformed-truncated peer={ONE} (and 49 more since the last line)",
    ]
