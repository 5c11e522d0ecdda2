"""The gateway's half of heartbeats (RFC 5847) and revocation (RFC 5846), alone and between real cores."""

from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from common.actions import Action, Note, Send
from common.mh.messages import (
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    HandoffIndicator,
    Heartbeat,
    MnId,
    ProxyBindingUpdate,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
)
from lmad.lma import LocalMobilityAnchor
from magd.binding_update_list import SERVED, State
from tests.domain import LMAA, Domain, lma_config, mag_address, mn_id, utc

MAG = mag_address(1)
HNP = IPv6Network("2001:db8:1000::/64")
GLOBAL = RevocationFlag.PROXY | RevocationFlag.GLOBAL
ADMINISTRATIVE = BindingRevocationIndication(
    trigger=RevocationTrigger.ADMINISTRATIVE, sequence=9, mn_id=mn_id(1), hnps=(HNP,)
)


def served(scheme: str = "pmipv6", mns: int = 1) -> Domain:
    """Every MN at MAG 1."""
    domain = Domain.make(mns=mns, scheme=scheme)
    for mn in range(1, mns + 1):
        domain.attach(mn, 1)
        domain.run(domain.now + 0.1)
    return domain


def told(domain: Domain, message: object) -> list[Action]:
    """What MAG 1 does when the LMA says this."""
    actions = domain.mags[MAG].receive(LMAA, message, domain.now)  # type: ignore[arg-type]
    domain.perform(MAG, actions)
    return actions


def reply(actions: list[Action]) -> BindingRevocationAck:
    [message] = [
        each.message for each in actions if isinstance(each, Send) and isinstance(each.message, BindingRevocationAck)
    ]
    return message


def states(domain: Domain) -> list[State]:
    return [entry.state for entry in domain.mags[MAG].binding_update_list.values()]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, RevocationStatus.SUCCESS),
        ({"hnps": ()}, RevocationStatus.SUCCESS),
        ({"hnps": (HNP, IPv6Network("2001:db8:9::/64"))}, RevocationStatus.PARTIAL_SUCCESS),
        ({"hnps": (IPv6Network("2001:db8:9::/64"),)}, RevocationStatus.BINDING_DOES_NOT_EXIST),
        ({"mn_id": mn_id(2)}, RevocationStatus.BINDING_DOES_NOT_EXIST),
        ({"mn_id": None}, RevocationStatus.BINDING_DOES_NOT_EXIST),
        ({"flags": RevocationFlag(0)}, RevocationStatus.BINDING_DOES_NOT_EXIST),
        ({"trigger": RevocationTrigger.USER_INITIATED}, RevocationStatus.SUCCESS),
        ({"trigger": RevocationTrigger.HANDOVER_UNKNOWN}, RevocationStatus.MN_IS_ATTACHED),
        ({"trigger": RevocationTrigger.OUT_OF_SYNC}, RevocationStatus.MN_IS_ATTACHED),
        ({"trigger": RevocationTrigger(77)}, RevocationStatus.TRIGGER_NOT_SUPPORTED),
        ({"flags": GLOBAL}, RevocationStatus.FUNCTION_NOT_SUPPORTED),
        ({"flags": RevocationFlag.PROXY | RevocationFlag.IPV4_HOA_ONLY}, RevocationStatus.FUNCTION_NOT_SUPPORTED),
        (
            {"flags": GLOBAL, "trigger": RevocationTrigger.PER_PEER_POLICY, "mn_id": None, "hnps": ()},
            RevocationStatus.SUCCESS,
        ),
        ({"flags": GLOBAL, "trigger": RevocationTrigger.PER_PEER_POLICY}, RevocationStatus.FUNCTION_NOT_SUPPORTED),
        (
            {"flags": GLOBAL, "trigger": RevocationTrigger.REVOKING_NODE_POLICY, "mn_id": MnId.nai("@example.net")},
            RevocationStatus.SUCCESS,
        ),
        (
            {"flags": GLOBAL, "trigger": RevocationTrigger.REVOKING_NODE_POLICY, "mn_id": MnId.nai("@net")},
            RevocationStatus.REVOKED_IDENTITY_REQUIRED,
        ),
        (
            {"flags": GLOBAL, "trigger": RevocationTrigger.REVOKING_NODE_POLICY, "mn_id": None},
            RevocationStatus.REVOKED_IDENTITY_REQUIRED,
        ),
    ],
)
def test_revocation_of_an_mn_that_is_served(changes: dict[str, object], status: RevocationStatus) -> None:
    domain = served()
    bri = replace(ADMINISTRATIVE, **changes)  # type: ignore[arg-type]
    answered = reply(told(domain, bri))
    assert (answered.status, answered.sequence, answered.flags) == (status, 9, bri.flags)
    ended = status in (RevocationStatus.SUCCESS, RevocationStatus.PARTIAL_SUCCESS)
    assert states(domain) == [State.REFUSED if ended else State.REGISTERED]
    assert (HNP in domain.kernel[MAG]) is not ended


def test_revocation_by_somebody_else() -> None:
    domain = served()
    stranger = mag_address(2)
    assert domain.mags[MAG].receive(stranger, ADMINISTRATIVE, domain.now)[0] == Note(
        "unauthorized-source", mn_id(1), stranger, "BRI"
    )


def test_revoked_mn_may_come_again() -> None:
    domain = served()
    domain.perform(LMAA, domain.lma.revoke(mn_id(1), domain.now))
    domain.run(domain.now + 30.0)
    assert len(domain.lma.binding_cache) == 0
    assert domain.kernel == {LMAA: {}, MAG: {}}
    domain.detach(1, 1)
    domain.attach(1, 1)
    domain.run(domain.now + 1.0)
    assert states(domain) == [State.REGISTERED]
    assert HNP in domain.kernel[LMAA]


@pytest.mark.parametrize("realm", [None, "example.net"])
@pytest.mark.parametrize("scheme", ["pmipv6", "context-reflector"])
def test_global_revocation_leaves_nothing(scheme: str, realm: str | None) -> None:
    domain = served(scheme, mns=3)
    domain.perform(LMAA, domain.lma.revoke_at(MAG, realm, domain.now))
    domain.run(domain.now + 1.0)
    assert len(domain.lma.binding_cache) == 0
    assert domain.kernel == {LMAA: {}, MAG: {}}


def test_unknown_handoff_asks_the_old_mag() -> None:
    """The MN is known by another identifier at the new MAG: its old one says that it has left, or that it has not."""
    for left in (True, False):
        domain = served()
        domain.run(domain.now + 1.0)
        if left:
            domain.deliver = lambda _source, _destination, message: (
                () if isinstance(message, ProxyBindingUpdate) else (0.005,)
            )
            domain.detach(1, 1)  # and the LMA does not hear of it
            domain.deliver = lambda *_: (0.005,)
        pbu = ProxyBindingUpdate(
            sequence=1,
            lifetime=300,
            mn_id=mn_id(1),
            hnps=(IPv6Network("::/0"),),
            handoff_indicator=HandoffIndicator.UNKNOWN,
            access_technology=domain.mags[MAG]._mag.access_technology,  # type: ignore[arg-type]
            mn_ll_id=b"other!",
            timestamp=domain.mags[MAG].numbering.timestamp(domain.now, None),
        )
        domain.perform(LMAA, domain.lma.receive(mag_address(2), pbu, domain.now))
        domain.run(domain.now + 0.05)
        at_new = [bce for bce in domain.lma.binding_cache if bce.proxy_coa == mag_address(2)]
        assert [bce.hnps for bce in at_new] == [(HNP if left else IPv6Network("2001:db8:1000:1::/64"),)]


def test_restarted_lma_hears_of_every_session_again() -> None:
    domain = served(mns=3)
    before = dict(domain.kernel[LMAA])
    assert len(before) == 3
    domain.lma = LocalMobilityAnchor(lma_config(mns=3), utc, restart_counter=8)
    domain.kernel[LMAA] = {}
    domain.perform(LMAA, domain.lma.started(sessions_lost=True, now=domain.now))
    domain.run(domain.now + 1.0)
    assert "peer-restarted" in domain.notes()
    assert domain.kernel[LMAA] == before
    assert all(entry.state in SERVED for entry in domain.mags[MAG].binding_update_list.values())


def test_restart_that_was_not_announced_is_seen_with_the_next_heartbeat() -> None:
    domain = served()
    domain.run(200.0)
    domain.lma = LocalMobilityAnchor(lma_config(), utc, restart_counter=8)
    domain.kernel[LMAA] = {}
    domain.run(300.0)
    assert HNP in domain.kernel[LMAA]


def test_heartbeats_run_both_ways_while_an_mn_is_served() -> None:
    domain = served()
    domain.run(200.0)
    beats = [beat for beat in domain.sent(Heartbeat) if not beat.response]  # type: ignore[union-attr]
    assert len(beats) == 6
    assert domain.mags[MAG].anchors.heartbeats.row(LMAA, domain.now)["reachable"] is True
    assert domain.lma.heartbeats.row(MAG, domain.now)["reachable"] is True
    domain.detach(1, 1)
    domain.run(400.0)
    assert len([beat for beat in domain.sent(Heartbeat) if not beat.response]) == 6  # type: ignore[union-attr]


def test_silent_lma_is_seen_and_said() -> None:
    domain = served()
    domain.deliver = lambda source, *_: () if source == LMAA else (0.005,)
    domain.run(400.0)
    assert domain.notes().count("peer-failed") == 2  # what the LMA asks is lost as well
    assert domain.mags[MAG].anchors.heartbeats.row(LMAA, domain.now)["reachable"] is False
    domain.deliver = lambda *_: (0.005,)
    domain.run(500.0)
    assert domain.notes().count("peer-recovered") == 2


def test_lma_that_does_not_know_heartbeats() -> None:
    domain = served()
    domain.deliver = lambda _source, _destination, message: () if isinstance(message, Heartbeat) else (0.005,)
    domain.run(70.0)
    assert told(domain, BindingError(status=2)) == [Note("heartbeat-not-supported", peer=LMAA)]
    assert domain.mags[MAG].anchors.heartbeats.row(LMAA, domain.now)["heartbeats"] is False
