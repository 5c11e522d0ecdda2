"""The two roles that a daemon can have on one kernel, anchor and gateway, and the marks of what each owns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """The marks of one daemon: what bears them is its own. Its packet queues count from `first_queue`."""

    name: str
    device_prefix: str
    protocol: int
    first_queue: int
    stray_reason: str


LMA = Role("lmad", "pml", 213, 0x4000, "returned-without-context")
MAG = Role("magd", "pmg", 214, 0x9000, "downlink-without-binding")
