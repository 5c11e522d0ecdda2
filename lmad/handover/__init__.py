"""Handover schemes of the anchor, by the name that the configuration uses."""

from lmad.handover.context_reflector import ContextReflector
from lmad.handover.fast_handover import FastHandover
from lmad.handover.pmipv6 import Pmipv6

SCHEMES: dict[str, type[Pmipv6]] = {
    "pmipv6": Pmipv6,
    "context-reflector": ContextReflector,
    "fast-handover": FastHandover,
    "fpmipv6": Pmipv6,  # RFC 5949 section 4.1: "no new functional requirement or change on the LMA"
}
