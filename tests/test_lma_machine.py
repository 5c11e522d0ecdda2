"""The anchor against MAGs that say anything: invariants after every step, and nothing left when all is over.

Requests of every kind for MNs with several interfaces, revocations by operator and by MAG, answers good and bad,
restarts and silence of MAGs, kernels that refuse. A prefix has one owner, the kernel holds what the cache wants, what
was accepted is what is in the cache, and the limits hold.
"""

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from math import inf
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.actions import Action, Forward, Forwarding, Send
from common.errors import DataPlaneError
from common.mh.codec import decode, encode
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextData,
    ContextReflectionAck,
    Feature,
    HandoffIndicator,
    Heartbeat,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
    Status,
    Timestamp,
    UpdateFlag,
)
from lmad.config import Lma, LmadConfig, Mag, MobileNode
from lmad.handover import SCHEMES
from lmad.lma import LocalMobilityAnchor
from tests.domain import LMAA, mac, mag_address, mn_id, utc

MNS, MAGS, INTERFACES = range(1, 5), range(1, 4), (None, 1, 2, 3)
POOL = IPv6Network("2001:db8:1000::/61")  # eight prefixes
FIXED = IPv6Network("2001:db8:77::/64")
MAX_BINDINGS, MAX_SESSIONS = 6, 2
T = TypeVar("T")
mns, mags = st.sampled_from(MNS), st.sampled_from(MAGS)


def ids(value: T, numbers: range, of: Callable[[int], T]) -> int:
    return next(number for number in numbers if of(number) == value)


class Anchor(RuleBasedStateMachine):
    lma: LocalMobilityAnchor

    @initialize(scheme=st.sampled_from(sorted(SCHEMES)), asks=st.booleans(), delay=st.sampled_from([0.0, 1.5]))
    def build(self, scheme: str, asks: bool, delay: float) -> None:
        config = LmadConfig(
            lma=Lma(
                address=LMAA,
                scheme=scheme,
                prefix_pools=(POOL,),
                max_bindings=MAX_BINDINGS,
                max_sessions_per_mobile_node=MAX_SESSIONS,
                revoke_on_unknown_handoff=asks,
                max_delay_before_new_bce_assign=delay,
                mobile_node_generated_timestamp_in_use=True,
            ),
            mag=tuple(Mag(address=mag_address(mag), identity=f"mag{mag}") for mag in MAGS),
            mobile_node=(
                MobileNode(mn_id=str(mn_id(1)), prefix_count=2),
                MobileNode(mn_id=str(mn_id(2)), prefixes=(FIXED,)),
                MobileNode(mn_id=str(mn_id(3))),
                MobileNode(mn_id=str(mn_id(4)), mags=(mag_address(1),)),
            ),
        )
        self.lma = LocalMobilityAnchor(config, utc)
        self.now, self.sequence = 0.0, 0
        self.kernel: dict[IPv6Network, Forwarding] = {}
        self.indications: list[tuple[IPv6Address, BindingRevocationIndication]] = []
        self.requests: dict[IPv6Address, int] = {}
        self.counters = dict.fromkeys(MAGS, 1)
        self.refuses = 0

    def hear(self, mag: int, message: Message) -> None:
        self.perform(self.lma.receive(mag_address(mag), decode(encode(message)), self.now))

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.sent(action)
            elif isinstance(action, Forward):
                if self.refuses and action.forwarding is not None:
                    self.refuses -= 1
                    undoing = self.lma.forwarding_failed(action, DataPlaneError("refused for the test"), self.now)
                    self.perform(undoing)
                    if any(isinstance(each, Send) for each in undoing):
                        return
                    continue
                for hnp in action.hnps:
                    self.kernel.pop(hnp, None)
                    if action.forwarding is not None:
                        self.kernel[hnp] = action.forwarding

    def sent(self, send: Send) -> None:
        message = decode(encode(send.message))
        match message:
            case ProxyBindingAck(status=Status.ACCEPTED, lifetime=lifetime) if lifetime:
                owners = {self.lma.binding_cache.owner(hnp) for hnp in message.hnps}
                [owner] = owners
                assert owner is not None
                assert (owner.mn_id, owner.hnps, owner.lifetime) == (message.mn_id, message.hnps, lifetime)
            case BindingRevocationIndication():
                self.indications.append((send.destination, message))
            case Heartbeat(response=False, sequence=sequence):
                self.requests[send.destination] = sequence

    @rule(
        mn=mns,
        mag=mags,
        interface=st.sampled_from(INTERFACES),
        handoff=st.integers(1, 6).map(HandoffIndicator),
        lifetime=st.sampled_from([0, 0, 40, 400]),
        named=st.sampled_from(["zero", "known", "some", "free", "others"]),
        timestamps=st.booleans(),
        context=st.sampled_from([None, None, *MAGS]),
    )
    def request(
        self,
        *,
        mn: int,
        mag: int,
        interface: int | None,
        handoff: HandoffIndicator,
        lifetime: int,
        named: str,
        timestamps: bool,
        context: int | None,
    ) -> None:
        sessions = self.lma.binding_cache.of(mn_id(mn))
        known = sessions[self.sequence % len(sessions)].hnps if sessions else ()
        others = tuple(bce.key for bce in self.lma.binding_cache if bce.mn_id != mn_id(mn))
        free = (IPv6Network((int(POOL.network_address) + (self.sequence % 8 << 64), 64)),)
        hnps = {"zero": (), "known": known, "some": known[:1], "free": free, "others": others[:1]}[named]
        self.ask(mag, mn, hnps or (ALL_ZERO_PREFIX,), lifetime, handoff, interface, timestamps, context)

    @rule(
        mn=mns,
        mag=mags,
        interface=st.sampled_from(INTERFACES),
        handoff=st.sampled_from([1, 2, 3, 4, 4, 4]).map(HandoffIndicator),
        timestamps=st.booleans(),
    )
    def attach(self, *, mn: int, mag: int, interface: int | None, handoff: HandoffIndicator, timestamps: bool) -> None:
        self.ask(mag, mn, (ALL_ZERO_PREFIX,), 400, handoff, interface, timestamps, None)

    @rule(data=st.data(), timestamps=st.booleans(), context=st.sampled_from([None, *MAGS]))
    def leave(self, data: st.DataObject, timestamps: bool, context: int | None) -> None:
        """The serving MAG de-registers a session of its own, as it should."""
        sessions = list(self.lma.binding_cache)
        if sessions:
            bce = sessions[data.draw(st.integers(0, len(sessions) - 1))]
            mag, mn = ids(bce.proxy_coa, MAGS, mag_address), ids(bce.mn_id, MNS, mn_id)
            interface = bce.mn_ll_id[-1] if bce.mn_ll_id else None
            self.ask(mag, mn, bce.hnps, 0, HandoffIndicator.UNKNOWN, interface, timestamps, context)

    def ask(  # noqa: PLR0917 - one row of a table
        self,
        mag: int,
        mn: int,
        hnps: tuple[IPv6Network, ...],
        lifetime: int,
        handoff: HandoffIndicator,
        interface: int | None,
        timestamps: bool,
        context: int | None,
    ) -> None:
        self.sequence += 1
        self.now += 0.001
        flags = UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY
        self.hear(
            mag,
            ProxyBindingUpdate(
                sequence=self.sequence,
                lifetime=lifetime,
                flags=flags if context is None else flags | UpdateFlag.CONTEXT,
                mn_id=mn_id(mn),
                hnps=hnps,
                handoff_indicator=handoff,
                access_technology=AccessTechnologyType.IEEE_802_11,
                mn_ll_id=mac(interface) if interface else None,
                timestamp=Timestamp.from_utc(utc(self.now)) if timestamps else None,
                contexts=(ContextData(Feature.NMAG_ADDRESS, mag_address(context).packed),) if context else (),
            ),
        )

    @rule(mn=st.none() | mns, mag=mags, realm=st.sampled_from([None, "example.net", "elsewhere"]))
    def operator_revokes(self, mn: int | None, mag: int, realm: str | None) -> None:
        if mn:
            self.perform(self.lma.revoke(mn_id(mn), self.now))
        else:
            self.perform(self.lma.revoke_at(mag_address(mag), realm, self.now))

    @rule(data=st.data(), status=st.sampled_from(RevocationStatus))
    def mag_answers(self, data: st.DataObject, status: RevocationStatus) -> None:
        if self.indications:
            place = data.draw(st.integers(max(0, len(self.indications) - 3), len(self.indications) - 1))
            mag, bri = self.indications[place]
            answer = BindingRevocationAck(status=status, sequence=bri.sequence, mn_id=bri.mn_id)
            self.hear(ids(mag, MAGS, mag_address), answer)

    @rule(mag=mags, mn=st.none() | mns, whole=st.booleans(), trigger=st.sampled_from(RevocationTrigger))
    def mag_revokes(self, mag: int, mn: int | None, whole: bool, trigger: RevocationTrigger) -> None:
        flags = RevocationFlag.PROXY | (RevocationFlag.GLOBAL if whole else 0)
        name = mn_id(mn) if mn else mn_id(1).nai(f"mag{mag}")
        self.hear(mag, BindingRevocationIndication(trigger=trigger, sequence=1, flags=flags, mn_id=name))

    @rule(mag=mags, restarts=st.booleans(), unsolicited=st.booleans())
    def mag_beats(self, mag: int, restarts: bool, unsolicited: bool) -> None:
        self.counters[mag] += restarts
        sequence = self.requests.get(mag_address(mag), 0)
        counter = self.counters[mag]
        self.hear(mag, Heartbeat(sequence=sequence, response=True, unsolicited=unsolicited, restart_counter=counter))

    @rule(mag=mags, mn=st.none() | mns)
    def mag_says_something_else(self, mag: int, mn: int | None) -> None:
        end_marker = ContextReflectionAck(
            status=Status.ACCEPTED, sequence=self.sequence, lifetime=1.0, mn_id=mn_id(mn or 1)
        )
        self.hear(mag, end_marker if mn else BindingError(status=2))

    @rule()
    def kernel_refuses(self) -> None:
        self.refuses = 1

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.5, 5.0, 11.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.now + seconds)

    def run(self, until: float) -> None:
        while (moment := self.lma.deadline()) is not None and moment <= until:
            self.now = max(self.now, moment)
            self.perform(self.lma.expire(self.now))
        self.now = until

    @invariant()
    def kernel_holds_what_the_cache_wants(self) -> None:
        if hasattr(self, "lma"):
            wanted = {hnp: self.lma._scheme.forwarding(bce) for bce in self.lma.binding_cache for hnp in bce.hnps}
            assert self.kernel == wanted

    @invariant()
    def prefixes_are_given_once_and_limits_hold(self) -> None:
        if not hasattr(self, "lma"):
            return
        cache = self.lma.binding_cache
        used = [hnp for bce in cache for hnp in bce.hnps]
        assert len(used) == len(set(used))
        assert all(cache.owner(hnp) == bce for bce in cache for hnp in bce.hnps)
        assert set(self.lma._sessions.assignment.pool._given) == {hnp for hnp in used if hnp != FIXED}
        assert len(cache) <= MAX_BINDINGS
        assert all(len(cache.of(mn_id(mn))) <= MAX_SESSIONS for mn in MNS)
        assert all(bce.mn_id == mn_id(2) for bce in cache if FIXED in bce.hnps)
        assert all(bce.proxy_coa == mag_address(1) for bce in cache.of(mn_id(4)))
        at_mags = [bce for mag in MAGS for bce in cache.at(mag_address(mag))]
        assert sorted(at_mags, key=lambda bce: bce.key) == sorted(cache, key=lambda bce: bce.key)

    def teardown(self) -> None:
        """Nobody refreshes anything any more."""
        if hasattr(self, "lma"):
            self.refuses = 0
            self.run(self.now + 10000.0)
            assert len(self.lma.binding_cache) == 0
            assert self.kernel == {}
            assert len(self.lma._waiting) == 0
            assert len(self.lma._scheme.revocations) == 0
            assert not self.lma.revoking._in_progress
            assert self.lma.deadline() is None
            assert self.lma.heartbeats.deadline() == inf


Anchor.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestAnchor = Anchor.TestCase
