"""Roaming as in test_state_machine.py, with sessions that are revoked, and daemons restarted with nothing remembered.

A revocation ends with the MN's stay at that MAG. What a daemon has forgotten its peers tell it, or give up (RFC 5847).
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from common.mh.messages import MnId
from lmad.config import ContextReflector
from tests.domain import LMAA, ONE_WAY, Domain, mag_address, mn_id
from tests.roaming import MAGS, MNS, RoamingMachine

# A daemon that forgets everything while a handover of these schemes is under way is not among what they recover from.
NOT_FORGETFUL = {"fast-handover", "fpmipv6"}


class Forgetting(RoamingMachine):
    """`revoked`: the moment at which an MN's session was."""

    def begin(self, scheme: str, reflector: ContextReflector, known: bool) -> Domain:
        self.fresh: Callable[[], Domain] = lambda: Domain.make(len(MAGS), len(MNS), scheme, known, reflector)
        self.revoked: dict[int, float] = {}
        self.lives = 0
        self.forgetful = scheme not in NOT_FORGETFUL
        return self.fresh()

    def comes(self, mn: int) -> None:
        """It is served again unless the revocation is not yet over, with its one retransmission."""
        if self.domain.now - self.revoked.get(mn, self.domain.now) > 4.0:
            del self.revoked[mn]

    def unserved(self) -> set[MnId]:
        return {mn_id(mn) for mn in self.revoked}

    @rule(mn=st.sampled_from(MNS))
    def revoke(self, mn: int) -> None:
        """By the operator's word; it ends with the stay at this MAG."""
        self.revoked[mn] = self.domain.now
        self.domain.perform(LMAA, self.domain.lma.revoke(mn_id(mn), self.domain.now))

    @precondition(lambda self: self.forgetful)
    @rule()
    def lma_restarts(self) -> None:
        """In a quiet moment: an anchor that remembers nothing gives to one MN what another one has not yet claimed."""
        self.lives += 1
        self.remaining.clear()
        self.domain.run(self.domain.now + 40.0)
        lma = self.domain.lma = self.fresh().lma
        lma.heartbeats.restart_counter = self.lives
        self.domain.kernel[LMAA] = {}
        self.domain.perform(LMAA, lma.started(sessions_lost=True, now=self.domain.now))
        self.domain.run(self.domain.now + 1.0)

    @precondition(lambda self: self.forgetful)
    @rule(number=st.sampled_from(MAGS))
    def mag_restarts(self, number: int) -> None:
        """It takes longer than what its last life sent is under way: a late heartbeat would be news of a restart."""
        self.lives += 1
        self.remaining.clear()
        self.domain.run(self.domain.now + 4 * ONE_WAY)
        address = mag_address(number)
        mag = self.domain.mags[address] = self.fresh().mags[address]
        mag.anchors.heartbeats.restart_counter = self.lives
        self.domain.kernel[address] = {}
        self.domain.perform(address, mag.started(sessions_lost=True, now=self.domain.now))
        for mn in [mn for mn, where in self.where.items() if where == number]:
            self.comes(mn)
            self.domain.attach(mn, number)


Forgetting.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestForgetting = Forgetting.TestCase
