"""Phases when signalling is lost, doubled or refused, and when a moment was not seen: nothing is invented."""

from pathlib import Path
from typing import Any

import pytest

from common.mh.messages import Status
from testbed.measurement.measure import measure
from tests.made_handover import MOMENTS_US, US, MadeHandover, add_traffic, made_run, pba, pbu
from tests.run_builder import ADDRESSES, MS, RunBuilder

DETACH = 1000 * MS


def the_handover(run: RunBuilder, path: Path) -> dict[str, Any]:
    (handover,) = measure(run.write(path / "run"))["handovers"]
    return dict(handover)


def test_the_attempt_that_was_answered_counts_not_the_lost_one(tmp_path: Path) -> None:
    run = made_run()
    lost_on_the_way, answer_lost = pbu(7, timestamp=70), pbu(8, timestamp=80)
    run.signal(lost_on_the_way, "mag2", "lma", DETACH + 50_210 * US)
    run.signal(answer_lost, "mag2", "lma", DETACH + 50_220 * US, DETACH + 55_220 * US)
    run.signal(pba(answer_lost), "lma", "mag2", DETACH + 55_300 * US)
    handover = the_handover(run, tmp_path)
    assert handover["phase_t_us"] == MOMENTS_US
    assert [event["event"] for event in handover["timeline"]].count("PBU sent") == 3


def test_of_copies_the_first_at_each_place_counts(tmp_path: Path) -> None:
    run = made_run()
    registration = pbu(2)
    run.signal(registration, "mag2", "lma", DETACH + 50_600 * US, DETACH + 55_700 * US)
    refusal = pba(pbu(2, timestamp=99), Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED)
    run.signal(refusal, "lma", "mag2", DETACH + 55_900 * US, DETACH + 60_900 * US)
    run.signal(pba(registration), "lma", "mag2", 0, DETACH + 61_500 * US)
    assert the_handover(run, tmp_path)["phase_t_us"] == MOMENTS_US


def test_an_answer_after_the_forwarding_did_not_cause_it(tmp_path: Path) -> None:
    run = made_run()
    refresh = pbu(9)
    run.signal(refresh, "mag2", "lma", DETACH + 70 * MS, DETACH + 75 * MS)
    run.signal(pba(refresh), "lma", "mag2", DETACH + 76 * MS, DETACH + 81 * MS)
    run.note("mag2", DETACH + 82 * MS, "forwarding", downlink="access")
    assert the_handover(run, tmp_path)["phase_t_us"] == MOMENTS_US


def test_a_moment_not_seen_has_no_letter_and_a_reason(tmp_path: Path) -> None:
    run = made_run()
    run.frames["lma"] = [frame for frame in run.frames["lma"] if frame[0] != DETACH + MOMENTS_US["c"] * US]
    run.events["mag2"] = [event for event in run.events["mag2"] if event["event"] != "forwarding"]
    handover = the_handover(run, tmp_path)
    assert set(handover["processing_us"]) == set("abdefghij")
    assert handover["processing_us"]["d"] == MOMENTS_US["d"] - MOMENTS_US["b"]
    assert sum(handover["processing_us"].values()) == MOMENTS_US["j"]
    assert handover["phases_missing"] == {
        "c": "PBU-dereg of mag1: request received is in no capture of this handover",
        "k": "the journal of mag2 has no forwarding access in this handover",
    }
    assert set(handover["processing"]) == {"f-g", "h-i"}


def test_forwarding_that_is_not_to_the_access_link_is_not_k(tmp_path: Path) -> None:
    run = made_run()
    run.note("mag2", DETACH + 50_300 * US, "forwarding", downlink="drop")
    assert the_handover(run, tmp_path)["phase_t_us"] == MOMENTS_US


def test_an_mn_faster_than_the_round_trip_has_a_negative_phase_and_the_sum_still_holds(tmp_path: Path) -> None:
    run = made_run()
    run.frames["mag1"] = [frame for frame in run.frames["mag1"] if frame[0] != DETACH + MOMENTS_US["e"] * US]
    run.signal(pba(pbu(1, lifetime=0)), "lma", "mag1", 0, DETACH + 52 * MS)  # e after f
    phases = the_handover(run, tmp_path)["processing_us"]
    assert phases["f"] == MOMENTS_US["f"] - 52_000
    assert sum(phases.values()) == MOMENTS_US["k"]


def test_another_mns_messages_and_journal_are_not_this_ones(tmp_path: Path) -> None:
    run = RunBuilder(("mn", "mn2"))
    first, second = MadeHandover("mag1", "mag2", DETACH), MadeHandover("mag1", "mag2", DETACH + 100 * US, "mn2")
    for sequence, handover in ((1, first), (1, second)):
        handover.add_to(run, sequence)
        add_traffic(run, [handover], 2000 * MS, mn=handover.mn)
    result = measure(run.write(tmp_path / "run"))
    assert [handover["phase_t_us"] for handover in result["handovers"]] == [MOMENTS_US, MOMENTS_US]


@pytest.mark.parametrize("scheme", ["fpmipv6", "fast-handover"])
def test_a_scheme_without_a_figure_says_so(tmp_path: Path, scheme: str) -> None:
    run = made_run()
    run.spec["scheme"] = scheme
    handover = the_handover(run, tmp_path)
    assert handover["processing_us"] == {}
    assert handover["phases_missing"] == {"all": f"no figure of the paper has phases of {scheme}"}


def test_a_message_leaves_when_the_daemon_sends_it_even_if_its_own_interface_delays_it(tmp_path: Path) -> None:
    run = made_run()
    one_way = 5 * MS
    senders = [("mag1", "b", "PBU-dereg", "lma"), ("lma", "d", "PBA", "mag1"), ("mag2", "g", "PBU", "lma")]
    for node, letter, message, peer in [*senders, ("lma", "i", "PBA", "mag2")]:
        sent = DETACH + MOMENTS_US[letter] * US
        run.frames[node] = [
            (t + one_way if t == sent and way == 4 else t, interface, way, packet)
            for t, interface, way, packet in run.frames[node]
        ]
        run.note(node, sent, "sent", message=message, peer=str(ADDRESSES[peer]))
    assert the_handover(run, tmp_path)["phase_t_us"] == MOMENTS_US


def test_a_journal_that_is_written_after_the_packet_has_left_does_not_make_it_late(tmp_path: Path) -> None:
    run = made_run(2)
    for mag, detach in (("mag2", DETACH), ("mag1", 2 * DETACH)):
        sent = detach + MOMENTS_US["g"] * US
        run.note(mag, sent + 3 * MS, "sent", message="PBU", peer=str(ADDRESSES["lma"]))
    handovers = measure(run.write(tmp_path / "run"))["handovers"]
    assert [handover["phase_t_us"] for handover in handovers] == [MOMENTS_US, MOMENTS_US]


def test_messages_in_quick_succession_keep_their_own_moments(tmp_path: Path) -> None:
    run = made_run()
    run.note("lma", 5 * MS, "sent", message="PBA", peer=str(ADDRESSES["mag1"]))  # before the capture
    first = DETACH + MOMENTS_US["d"] * US
    refusal = pba(pbu(1, lifetime=0, timestamp=1), Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED)
    run.signal(refusal, "lma", "mag1", first + 2 * MS, first + 7 * MS)
    for sent in (first, first + 2 * MS):
        run.note("lma", sent + 20 * US, "sent", message="PBA", peer=str(ADDRESSES["mag1"]))
    timeline = the_handover(run, tmp_path)["timeline"]
    moments = [event["t_us"] for event in timeline if event["event"] == "PBA sent" and event["peer"] == "mag1"]
    assert moments == [MOMENTS_US["d"], MOMENTS_US["d"] + 2000]
