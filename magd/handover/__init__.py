"""Handover schemes of the gateway, by the name that the configuration uses."""

from magd.handover.context_reflector import ContextReflector
from magd.handover.fast_handover import FastHandover
from magd.handover.fpmipv6 import Fpmipv6
from magd.handover.pmipv6 import Pmipv6

SCHEMES: dict[str, type[Pmipv6]] = {
    "pmipv6": Pmipv6,
    "context-reflector": ContextReflector,
    "fast-handover": FastHandover,
    "fpmipv6": Fpmipv6,
}
