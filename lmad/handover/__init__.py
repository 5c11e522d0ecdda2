"""Handover schemes of the anchor, by the name that the configuration uses."""

from lmad.handover.context_reflector import ContextReflector
from lmad.handover.fast_handover import FastHandover
from lmad.handover.pmipv6 import Pmipv6

SCHEMES: dict[str, type[Pmipv6]] = {
    "pmipv6": Pmipv6,
    "context-reflector": ContextReflector,
    "fast-handover": FastHandover,
}
