"""One LMA, three MAGs and three MNs through random histories on a bad network; any daemon may be killed, at any action.

It then starts again from its store. What must be true after every step and at the end is in roaming.py.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from lmad.config import ContextReflector
from tests.lives import MortalDomain
from tests.roaming import MAGS, MNS, RoamingMachine


class Roaming(RoamingMachine):
    domain: MortalDomain

    def begin(self, scheme: str, reflector: ContextReflector, known: bool) -> MortalDomain:
        return MortalDomain.with_lives(scheme, reflector, len(MAGS), len(MNS), known)

    @rule(actions=st.integers(0, 5), downtime=st.sampled_from([0.0, 0.006, 0.4, 2.5]))
    def doom(self, actions: int, downtime: float) -> None:
        """Whoever is about to do the next but so many actions is killed, for a while."""
        if not self.domain.dead:
            self.domain.fatal, self.domain.downtime = self.domain.actions + actions, downtime

    def is_alive(self) -> bool:
        return super().is_alive() and not self.domain.dead

    def heal(self) -> None:
        super().heal()
        self.domain.fatal = None


Roaming.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestRoaming = Roaming.TestCase
