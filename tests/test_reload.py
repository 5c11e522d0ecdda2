"""SIGHUP: what can change does, what cannot is named, and a wrong file changes nothing."""

from ipaddress import IPv6Network
from pathlib import Path

import msgspec
import pytest

from common.actions import Note, Send
from common.errors import DataPlaneError
from common.mh.bodies import body_of
from common.mh.messages import FastProxyBindingUpdate, HandoffIndicator, Heartbeat, Status
from common.reload import Reloading, differences
from lmad.config import RELOADABLE as LMAD_RELOADABLE
from lmad.config import LmadConfig, load_config
from lmad.lma import LocalMobilityAnchor
from magd.config import RELOADABLE as MAGD_RELOADABLE
from magd.config import MagdConfig
from magd.config import load_config as load_magd
from magd.mag import MobileAccessGateway
from testbed.package.manual import defaults
from tests.domain import LMAA, lma_config, mac, mag_address, mag_config, mn_id, utc
from tests.test_lma import answer, pbu
from tests.test_lma_lookup import indications
from tests.test_mag import accepted, sent

FILE = """
[lma]
address = "2001:db8:0:ff::1"
prefix_pools = ["2001:db8:1000::/36"]

[[mag]]
address = "2001:db8:0:1::1"
"""
PMAG, NMAG = mag_address(1), mag_address(2)
RELOADABLE = frozenset({"lma.max_lifetime", "mag", "mobile_node"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lmad.toml"
    path.write_text(FILE)
    return path


def test_what_can_change_does_and_what_cannot_is_named(path: Path) -> None:
    applied: list[LmadConfig] = []
    reloading = Reloading(path, load_config(path), RELOADABLE, applied.append)
    assert reloading.show() == {"file": str(path), "last_reload": "never", "needs_restart": []}
    path.write_text(
        FILE.replace("[lma]", '[lma]\nmax_lifetime = 400\nscheme = "context-reflector"')
        + '[[mobile_node]]\nmn_id = "mn1@example.net"\n'
    )
    note = reloading.reload()
    assert (note.event, note.detail) == (
        "reloaded",
        "changed lma.max_lifetime, mobile_node; needs a restart: lma.scheme",
    )
    [config] = applied
    assert config is reloading.config
    assert (config.lma.max_lifetime, config.lma.scheme) == (400, "pmipv6")
    assert config.mobile_node[0].mn_id == "mn1@example.net"
    assert reloading.show()["needs_restart"] == ["lma.scheme"]
    path.write_text(FILE)
    assert reloading.reload().detail == "changed lma.max_lifetime, mobile_node"
    assert reloading.show()["needs_restart"] == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[lma", "not TOML"),
        (FILE.replace("[lma]", "[lma]\nmax_lifetime = 401"), "`lma.max_lifetime`"),
    ],
)
def test_a_wrong_file_changes_nothing(path: Path, text: str, why: str) -> None:
    before = load_config(path)
    reloading = Reloading(path, before, RELOADABLE, lambda _config: pytest.fail("applied"))
    path.write_text(text)
    note = reloading.reload()
    assert note.event == "reload-refused"
    assert why in note.detail
    assert reloading.config is before
    assert str(reloading.show()["last_reload"]).startswith("refused: ")


def test_what_the_kernel_refuses_changes_nothing(path: Path) -> None:
    def refuse(_config: LmadConfig) -> None:
        raise DataPlaneError("no tunnel")

    reloading = Reloading(path, before := load_config(path), RELOADABLE, refuse)
    path.write_text(FILE + '[[mag]]\naddress = "2001:db8:0:2::1"\n')
    assert reloading.reload().detail == "no tunnel"
    assert reloading.config is before
    assert list(differences(before, load_config(path))) == ["mag"]


def test_what_does_not_go_with_what_stays_waits_for_a_restart(path: Path) -> None:
    text = '[mag]\naddress = "2001:db8::1"\nlma = "2001:db8::2"\naccess_interfaces = ["eth1"]\n'
    path.write_text(text)
    reloading = Reloading(path, load_magd(path), frozenset({"mobile_node"}), lambda _config: pytest.fail("applied"))
    path.write_text(text.replace("eth1", "eth2") + '[[mobile_node]]\nmn_id = "a"\ninterface = "eth2"\n')
    load_magd(path)  # as a whole it is right
    note = reloading.reload()
    assert note.event == "reload-refused"
    assert note.detail == ("not without a restart: mobile node's interface eth2 is not among mag.access_interfaces")


def test_what_can_change_is_a_key() -> None:
    for kind, reloadable in ((LmadConfig, LMAD_RELOADABLE), (MagdConfig, MAGD_RELOADABLE)):
        keys = {f"{table}.{key}" for (table, key), _ in defaults(kind)}
        arrays = {key.partition(".")[0] for key in keys if key.startswith(("mag.address", "mobile_node."))}
        assert reloadable <= keys | arrays, reloadable - keys - arrays


def test_an_anchor_follows() -> None:
    """A subscriber more, one with a prefix of the pools for its own, a shorter lifetime, a MAG less."""
    lma = LocalMobilityAnchor(lma_config(mags=2, mns=1), utc)
    first = answer(lma.receive(PMAG, pbu(0.0), 0.0))
    [hnp] = first.hnps
    assert (
        answer(lma.receive(PMAG, pbu(0.1, mn_id=mn_id(2), mn_ll_id=mac(2)), 0.1)).status
        is Status.NOT_LMA_FOR_THIS_MOBILE_NODE
    )
    own = IPv6Network("2001:db8:1000:1::/64")  # the next one of the pool
    wanted = lma_config(mags=1, mns=3, max_lifetime=120)
    nodes = (*wanted.mobile_node[:2], msgspec.structs.replace(wanted.mobile_node[2], prefixes=(own,)))
    lma.follow(msgspec.structs.replace(wanted, mobile_node=nodes), 0.5)
    refreshed = answer(lma.receive(PMAG, pbu(1.0, hnps=(hnp,), sequence=2), 1.0))
    assert (refreshed.status, refreshed.lifetime, refreshed.hnps) == (Status.ACCEPTED, 120, (hnp,))
    second = answer(lma.receive(PMAG, pbu(1.1, mn_id=mn_id(2), mn_ll_id=mac(2)), 1.1))
    assert second.hnps == (IPv6Network("2001:db8:1000:2::/64"),)
    third = answer(lma.receive(PMAG, pbu(1.2, mn_id=mn_id(3), mn_ll_id=mac(3)), 1.2))
    assert third.hnps == (own,)
    gone = answer(lma.receive(NMAG, pbu(1.3, hnps=(hnp,)), 1.3))
    assert gone.status is Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG


def test_a_prefix_that_is_a_subscribers_no_more_is_given_to_nobody_else_while_it_is_in_use() -> None:
    wanted = lma_config(mags=2, mns=2)
    own = IPv6Network("2001:db8:1000::/64")  # the first one of the pool
    fixed = msgspec.structs.replace(wanted.mobile_node[0], prefixes=(own,))
    lma = LocalMobilityAnchor(msgspec.structs.replace(wanted, mobile_node=(fixed, *wanted.mobile_node[1:])), utc)
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps == (own,)
    lma.follow(wanted, 0.5)
    other = answer(lma.receive(PMAG, pbu(1.0, mn_id=mn_id(2), mn_ll_id=mac(2)), 1.0))
    assert other.hnps == (IPv6Network("2001:db8:1000:1::/64"),)
    assert answer(lma.receive(NMAG, pbu(1.1), 1.1)).hnps == (own,)
    # From now on it is a prefix of the pool like any other: nobody's, and the MN's again if it comes soon.
    lma.expire(400.0)
    assert len(lma.binding_cache) == 0
    assert answer(lma.receive(PMAG, pbu(400.1), 400.1)).hnps == (own,)


def test_a_gateway_follows() -> None:
    """Whose profile went is de-registered, whose came is served."""
    mag = MobileAccessGateway(mag_config(1, mns=2), utc, sequence=0)
    for mn in (1, 2):
        [request] = sent(mag.link_up(f"acc{mn}", 0.0))
        mag.receive(LMAA, accepted(request, hnps=(IPv6Network((0x20010DB8 << 96 | mn << 64, 64)),)), 0.1)
    actions = mag.follow(
        msgspec.structs.replace(mag_config(1, mns=3), mobile_node=mag_config(1, mns=3).mobile_node[1:]), 1.0
    )
    [farewell] = sent(actions)
    assert (farewell.mn_id, farewell.lifetime) == (mn_id(1), 0)
    [request] = sent(mag.link_up("acc3", 1.1))
    assert request.mn_id == mn_id(3)
    assert sent(mag.link_up("acc2", 1.1)) == []  # still served
    assert mag.link_up("acc1", 1.1) == []  # nobody's


def test_an_anchor_follows_its_timers() -> None:
    """Heartbeats, revocations and waits go by the new variables, and a long wait for a heartbeat is cut short."""
    lma = LocalMobilityAnchor(lma_config(mns=1, heartbeat_interval=3600, revoke_on_unknown_handoff=False), utc)
    [hnp] = answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps
    wanted = lma_config(
        mns=1,
        heartbeat_interval=30,
        missing_heartbeats_allowed=0,
        max_delay_before_new_bce_assign=0.5,
        bri_max_retries_number=0,
        init_min_delay_bris=0.5,
    )
    lma.follow(wanted, 10.0)
    assert lma.deadline() == 40.0
    lma.expire(40.0)
    assert Note("peer-failed", peer=PMAG) in lma.expire(70.0)
    [bri] = indications(lma.revoke(mn_id(1), 71.0))
    assert lma.deadline() == 71.5
    assert Note("revocation-unanswered", bri.mn_id, PMAG) in lma.expire(71.5)
    # The old MAG is asked from now on, and not waited for.
    lma.receive(PMAG, pbu(80.0), 80.0)
    lma.heartbeats.received(PMAG, Heartbeat(sequence=2, response=True, restart_counter=0), 80.1)
    [question] = indications(lma.receive(NMAG, pbu(81.0, mn_ll_id=mac(7)), 81.0))
    assert question.hnps == (hnp,)
    lma.follow(msgspec.structs.replace(wanted, lma=msgspec.structs.replace(wanted.lma, bri_max_retries_number=1)), 81.1)
    assert lma.expire(81.5) == [Send(PMAG, question)]


def test_an_anchor_follows_its_limits() -> None:
    lma = LocalMobilityAnchor(lma_config(mns=2, max_bindings=1), utc)
    assert answer(lma.receive(PMAG, pbu(0.0), 0.0)).status is Status.ACCEPTED
    other = {"mn_id": mn_id(2), "mn_ll_id": mac(2)}
    assert answer(lma.receive(PMAG, pbu(0.1, **other), 0.1)).status is Status.INSUFFICIENT_RESOURCES
    lma.follow(lma_config(mns=2, max_bindings=2, prefix_count=2, max_sessions_per_mobile_node=1), 0.2)
    assert len(answer(lma.receive(PMAG, pbu(0.3, **other), 0.3)).hnps) == 2
    more = pbu(0.4, mn_ll_id=mac(7), handoff_indicator=HandoffIndicator.NEW_INTERFACE)
    assert answer(lma.receive(PMAG, more, 0.4)).status is Status.INSUFFICIENT_RESOURCES


def test_a_fast_pbu_follows_the_limit_of_lifetimes() -> None:
    lma = LocalMobilityAnchor(lma_config(mags=2, mns=1, scheme="fast-handover"), utc)
    [hnp] = answer(lma.receive(PMAG, pbu(0.0), 0.0)).hnps
    lma.follow(lma_config(mags=2, mns=1, scheme="fast-handover", max_lifetime=120), 0.1)
    lma.receive(PMAG, FastProxyBindingUpdate(**body_of(pbu(1.0, hnps=(hnp,), sequence=2)), nmag=NMAG), 1.0)
    [bce] = lma.binding_cache
    assert (bce.proxy_coa, bce.lifetime) == (NMAG, 120)


def test_a_gateway_follows_its_timers() -> None:
    config = mag_config(1, heartbeat_interval=3600)
    mag = MobileAccessGateway(config, utc, sequence=0)
    [request] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(request), 0.1)
    assert request.timestamp is not None
    other = msgspec.structs.replace(config.mag, heartbeat_interval=30.0, timestamp_based_approach_in_use=False)
    mag.follow(msgspec.structs.replace(config, mag=other), 1.0)
    assert mag.deadline() == 31.0
    [farewell] = sent(mag.link_down("acc1", 2.0))
    assert (farewell.timestamp, farewell.sequence) == (None, request.sequence + 1)
