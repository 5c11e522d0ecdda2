"""What an operator does with daemons that serve: metrics, trace, SIGHUP; on code points of their own."""

import threading
from collections.abc import Iterator
from signal import SIGHUP
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.control import follow
from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, eventually, raw

pytestmark = pytest.mark.netns

OWN_CODE_POINTS = "[extension]\nmh_type = 200\ncontext_data_option = 201\nupdate_flag = 4\nack_flag = 2\n"
METRICS = 'metrics_address = "::1"\n'


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    edits = {
        node: [(f"[{table}]\n", f"{OWN_CODE_POINTS}[{table}]\n{METRICS}")]
        for node, table in (("lma", "lma"), ("mag1", "mag"), ("mag2", "mag"))
    }
    with SystemLab(LabSpec(scheme="context-reflector", mns=2), edits) as up:
        up.settle("mn1", "mag1")
        yield up


def scrape(lab: SystemLab, node: str, port: int) -> dict[str, float]:
    """Every sample by its name and labels' values."""
    with lab.nodes[node].inside(), urlopen(f"http://[::1]:{port}/metrics") as answer:
        text = answer.read().decode()
    return {
        " ".join((sample.name.removeprefix("context_reflector_"), *sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_handover_is_seen_in_trace_and_metrics_of_all_its_daemons(lab: SystemLab) -> None:
    mn_id = lab.topology.mn("mn1").mn_id
    rows: list[Any] = []
    told = follow(lab.control_socket("lma"), "trace", mn_id=mn_id)

    def read() -> None:
        while not rows or rows[-1]["event"] != "hold-released":
            rows.append(next(told)[0])

    reader = threading.Thread(target=read)
    reader.start()
    # Announced, so that the order of things does not hang on who is faster.
    lab.command("mag1", "handover", mn_id=mn_id, nmag=str(lab.topology.addresses["mag2"]))
    eventually(lambda: "awaited" in lab.states("mag2").values(), "the context does not come")
    eventually(lambda: lab.show("lma", "contexts")[0]["end_marker"], "the end marker does not come")
    address = lab.settle("mn1", "mag2")
    reader.join(30)
    said = [(row["event"], row["message"]) for row in rows]
    assert [each for each in said if each[0] != "forwarding"][:5] == [
        ("received", "PBU-dereg"),
        ("hold-started", None),
        ("sent", "PBA"),
        ("sent", "CR"),
        ("received", "CR-ack"),
    ]
    assert ("received", "PBU") in said
    # What is not behind mag1 any more must not come from there: seen by the kernel alone.
    with raw(lab.nodes["mag1"], 41) as tunnel:
        inner = b"\x60\x00\x00\x00\x00\x00\x3b\x40" + address.packed + lab.topology.addresses["cn"].packed
        eventually(lambda: not lab.show("lma", "contexts"), "the handover does not end")
        tunnel.sendto(inner, (str(lab.topology.addresses["lma"]), 0))
    seen = scrape(lab, "lma", 9213)
    mag2 = str(lab.topology.addresses["mag2"])
    assert seen[f"bindings {mag2} registered"] == 1
    assert seen["messages_total PBU accepted received"] >= 2
    assert seen["messages_total CR accepted sent"] >= 1
    eventually(lambda: scrape(lab, "lma", 9213)["kernel_drops_total uplink-not-from-serving-mag"] >= 1, "no drop")
    for phase in ("deregistration", "reflection", "away", "registration", "hold"):
        assert seen[f"handover_phase_seconds_count {phase}"] >= 1, phase
    left, came = scrape(lab, "mag1", 9214), scrape(lab, "mag2", 9214)
    for seen, phases in ((left, ("deregistration",)), (came, ("arriving", "registration", "service"))):
        for phase in phases:
            assert seen[f"handover_phase_seconds_count {phase}"] >= 1, phase
            assert 0 < seen[f"handover_phase_seconds_sum {phase}"] < 30, phase
    assert came["mobile_nodes registered"] == 1


def test_sighup_changes_what_can_change(lab: SystemLab) -> None:
    """A profile and a MAG more, a limit, and one thing that needs a restart; then a wrong file."""
    path = lab.directory / "lma.toml"
    before = path.read_text()
    more = before.replace("[lma]\n", "[lma]\nmax_lifetime = 400\n")
    more += '\n[[mag]]\naddress = "2001:db8:0:77::1"\n[[mobile_node]]\nmn_id = "late@example.net"\n'
    path.write_text(more.replace(METRICS, METRICS + "metrics_port = 9300\n"))
    lab.daemons["lma"].signal(SIGHUP)
    state = eventually(
        lambda: (found := lab.show("lma", "configuration"))["last_reload"] != "never" and found, "no reload"
    )
    assert state["last_reload"] == "changed lma.max_lifetime, mag, mobile_node"
    assert state["needs_restart"] == ["lma.metrics_port"]
    assert "2001:db8:0:77::1" in [row["address"] for row in lab.show("lma", "mags")]
    assert "2001:db8:0:77::1" in lab.nodes["lma"].run(["ip", "-6", "tunnel", "show"])
    for mag in ("mag2", "mag1"):  # wherever it was, it is registered anew
        lab.settle("mn1", mag)
    assert [row["lifetime_s"] for row in lab.show("lma", "bindings")] == [400]
    path.write_text(before.replace("[lma]\n", "[lma]\nmax_lifetime = 401\n"))
    lab.daemons["lma"].signal(SIGHUP)
    eventually(lambda: "refused" in lab.show("lma", "configuration")["last_reload"], "no word of the wrong file")
    lab.settle("mn1", "mag2")
    assert [row["lifetime_s"] for row in lab.show("lma", "bindings")] == [400]


def test_a_profile_that_comes_by_sighup_is_served_and_one_that_goes_is_not(lab: SystemLab) -> None:
    path = lab.directory / "mag1.toml"
    before = path.read_text()
    mn2 = lab.topology.mn("mn2")
    tables = before.split("[[mobile_node]]")
    path.write_text("[[mobile_node]]".join(table for table in tables if mn2.mn_id not in table))
    lab.daemons["mag1"].signal(SIGHUP)
    eventually(lambda: lab.show("mag1", "configuration")["last_reload"] == "changed mobile_node", "no reload")
    lab.air_only("mn2", "mag1")
    path.write_text(before)
    lab.daemons["mag1"].signal(SIGHUP)
    eventually(lambda: lab.serving().get(mn2.mn_id) == "mag1", "a profile that came is not served")
    path.write_text("[[mobile_node]]".join(table for table in tables if mn2.mn_id not in table))
    lab.daemons["mag1"].signal(SIGHUP)
    eventually(lambda: mn2.mn_id not in lab.serving(), "a profile that went is served")


def test_a_neighbour_that_comes_by_sighup_is_out_of_reach_for_mns(lab: SystemLab) -> None:
    """An MN must not speak to a gateway that its own one has learnt of late, either."""
    path = lab.directory / "mag2.toml"
    before = path.read_text()
    peers = ["nft", "list", "set", "ip6", "context_reflector_magd", "peers"]
    assert "2001:db8:0:88::1" not in lab.nodes["mag2"].run(peers)
    path.write_text(before.replace("neighbours = [", 'neighbours = ["2001:db8:0:88::1", '))
    lab.daemons["mag2"].signal(SIGHUP)
    eventually(lambda: "2001:db8:0:88::1" in lab.nodes["mag2"].run(peers), "the guard does not know the neighbour")
    path.write_text(before)
    lab.daemons["mag2"].signal(SIGHUP)
    eventually(lambda: "2001:db8:0:88::1" not in lab.nodes["mag2"].run(peers), "the guard knows it still")
