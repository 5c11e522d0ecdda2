"""Hostile octets: a share of what `testbed fuzz` does, seeded; and what keeps one peer's flood from another's words."""

from ipaddress import IPv6Address

import pytest

from common.actions import Note
from common.inbox import Inbox
from common.logs import NoteLog
from common.schemes import SCHEMES
from testbed.fuzz.run import run

ONE, OTHER = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("daemon", ["lmad", "magd"])
def test_nothing_comes_out_of_mutated_messages_but_what_has_a_name(daemon: str, scheme: str) -> None:
    done = run(daemon, scheme, 2000, seed=5213)
    assert len(done.reasons) > 10  # they are wrong in many ways
    assert done.outcomes["accepted"] > 0  # and some of them right
    assert done.outcomes["ignored"] > 0
    assert done.entries <= 24


def test_who_floods_makes_only_itself_wait() -> None:
    inbox = Inbox(most_of_a_peer=3)
    assert [inbox.put(ONE, bytes([number]), 0.0) for number in range(5)] == [True, True, True, False, False]
    assert inbox.put(OTHER, b"x", 1.0)
    taken = [inbox.take() for _ in range(5)]
    assert taken == [(b"\0", ONE, 0.0), (b"x", OTHER, 1.0), (b"\1", ONE, 0.0), (b"\2", ONE, 0.0), None]
    assert not inbox


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
