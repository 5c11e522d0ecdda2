"""The handover schemes by name, with what both daemons and the lab must know of one without its code.

What a scheme does is in `lmad/handover` and `magd/handover`; docs/schemes.md says how to add one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True, slots=True)
class Scheme:
    """`predictive`: a MAG can be told that an MN is about to leave; what it does then takes `round_trips` between MAG
    and LMA. `contexts`: features' contexts travel with it. `between_mags`: nMAG must know whence an MN comes."""

    predictive: bool = False
    round_trips: int = 1
    contexts: bool = False
    between_mags: bool = False


SCHEMES: dict[str, Scheme] = {
    "pmipv6": Scheme(),
    "context-reflector": Scheme(predictive=True, contexts=True),
    "fast-handover": Scheme(predictive=True),
    "fpmipv6": Scheme(predictive=True, round_trips=2, contexts=True, between_mags=True),
}

if TYPE_CHECKING:
    SchemeName = str
else:  # what a configuration may say
    SchemeName = Literal[tuple(SCHEMES)]
