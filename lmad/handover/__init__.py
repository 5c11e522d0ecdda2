"""Handover schemes of the anchor, by the name that the configuration uses."""

from lmad.handover.pmipv6 import Pmipv6

SCHEMES: dict[str, type[Pmipv6]] = {"pmipv6": Pmipv6}
