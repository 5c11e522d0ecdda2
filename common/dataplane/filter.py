"""The packet filter: one nftables table per daemon, replaced whole at start, removed at the end, its drops counted.

Uplink is judged by the route back (`fib saddr . iif oif missing`): a packet may come only from where packets to its
source go. So no rule and no set element per mobile node exists, and a registration touches no nftables state.

What makes packets wait is here too: `queue` in prerouting, so that one released is routed anew. The rest of the chain
is not for it any more, but later chains are. A packet that a MAG gives back carries a mark, from its entry into the MAG
(by the tunnel, so it goes back if it leaves by the tunnel) through the outer header (a hop limit that no other packet
of the tunnel has) to the LMA. Nothing is guessed: traffic between two mobile nodes of one MAG has the same addresses,
and is told apart all the same.
"""

import errno
import json
import os
from collections.abc import Iterable
from ipaddress import IPv6Address

import nftables

from common.errors import DataPlaneError

HNP_MASK = "ffff:ffff:ffff:ffff::"
SET_MARK = "meta mark set meta mark & 0x0000ffff | 0x52130000"
HAS_MARK = "meta mark & 0xffff0000 == 0x52130000"
IPV6_IN_IPV6 = 41
# An outer packet starts with the tunnel's 64, one with something given back with 255: no path is 127 routers long.
GIVEN_BACK_HOP_LIMIT, GIVEN_BACK_THRESHOLD = 255, 128


def lma_rules(devices: str, local: IPv6Address, *, returned: int | None, octets: int, sessions: int) -> str:
    """The LMA's table: `devices` matches its tunnels, `returned` is the queue of what MAGs give back.

    Without `returned` nothing is ever held. Else `octets` is the most that is kept of a session, `sessions` how many.
    """
    if returned is None:
        return f"""
            counter uplink_not_from_serving_mag {{}}
            chain prerouting {{
                type filter hook prerouting priority raw; policy accept;
                iifname "{devices}" fib saddr . iif oif missing counter name uplink_not_from_serving_mag drop
            }}"""
    return f"""
        counter uplink_not_from_serving_mag {{}}
        set uplink_from {{ typeof iif . ip6 saddr; size {4 * sessions}; }}
        {_hold(octets, sessions)}
        chain tunnel {{
            {HAS_MARK} queue num {returned}
            fib saddr . iif oif exists return
            iif . ip6 saddr & {HNP_MASK} @uplink_from return
            counter name uplink_not_from_serving_mag drop
        }}
        chain prerouting {{
            type filter hook prerouting priority raw; policy accept;
            ip6 daddr {local} ip6 nexthdr {IPV6_IN_IPV6} ip6 hoplimit > {GIVEN_BACK_THRESHOLD} {SET_MARK}
            iifname "{devices}" jump tunnel
            ip6 daddr & {HNP_MASK} @held goto hold
        }}"""


def mag_rules(
    devices: str, access: Iterable[str], *, early: int | None, uplink: bool, octets: int, sessions: int
) -> str:
    """The MAG's table: `early` is the queue of what comes down the tunnel for an MN without a path, None for no holds.

    With `uplink` what comes from an access link whose device is in `waiting` waits, before its source is judged.
    """
    names = ", ".join(f'"{name}"' for name in access)
    judge = f"iifname {{ {names} }} fib saddr . iif oif missing counter name uplink_without_binding drop"
    table = "counter uplink_without_binding {}"
    if uplink:
        table += """
            map waiting { typeof iif : meta cpu; }
            chain uplink {
                type filter hook prerouting priority raw - 1; policy accept;
                ip6 saddr != fe80::/10 ip6 saddr != :: queue to iif map @waiting
            }"""
    if early is None:
        return f"""
            {table}
            chain prerouting {{
                type filter hook prerouting priority raw; policy accept;
                {judge if names else ""}
            }}"""
    return f"""
        {table}
        {_hold(octets, sessions)}
        chain tunnel {{
            {SET_MARK}
            ip6 daddr & {HNP_MASK} @held goto hold
            {f"fib daddr oifname {{ {names} }} accept" if names else ""}
            fib daddr oifname "{devices}" accept
            queue num {early}
        }}
        chain prerouting {{
            type filter hook prerouting priority raw; policy accept;
            {judge if names else ""}
            iifname "{devices}" goto tunnel
        }}
        chain output {{
            type filter hook output priority raw; policy accept;
            {HAS_MARK} ip6 nexthdr {IPV6_IN_IPV6} ip6 hoplimit set {GIVEN_BACK_HOP_LIMIT}
        }}"""


def _hold(octets: int, sessions: int) -> str:
    # A map's values must be of a type with a size; `meta cpu` is just a number of 32 bits. The elements of the three
    # come and go at once, but a packet on another processor may see `held` before and the rest after: then it passes,
    # as it may by then (gates.py).
    return f"""
        counter hold_bytes {{}}
        set held {{ type ipv6_addr; size {sessions}; }}
        set full {{ type ipv6_addr; size {sessions}; quota over {octets} bytes; }}
        map queue_of {{ typeof ip6 daddr : meta cpu; size {sessions}; }}
        chain hold {{
            ip6 daddr & {HNP_MASK} @full counter name hold_bytes drop
            queue to ip6 daddr & {HNP_MASK} map @queue_of
        }}"""


class Filter:
    """The table `name` of the family ip6."""

    def __init__(self, name: str) -> None:
        self._table = f"ip6 {name}"
        self._nft = nftables.Nftables()

    def install(self, rules: str) -> None:
        self._run(f"add table {self._table}; delete table {self._table}; table {self._table} {{\n{rules}\n}}")

    def drops(self) -> dict[str, int]:
        """Packets dropped, by reason."""
        self._nft.set_json_output(True)
        try:
            listing = json.loads(self._run(f"list counters table {self._table}"))
        finally:
            self._nft.set_json_output(False)
        counters = (item["counter"] for item in listing["nftables"] if "counter" in item)
        return {counter["name"].replace("_", "-"): counter["packets"] for counter in counters}

    def remove(self) -> None:
        self._run(f"add table {self._table}; delete table {self._table}")

    def _run(self, commands: str) -> str:
        status, output, error = self._nft.cmd(commands)
        if status:
            said = error.strip().partition("\n")[0]  # what follows repeats the rules and points at them
            raise DataPlaneError(f"nftables refused a rule: {said}{_hint(said)}")
        return str(output)


def _hint(said: str) -> str:
    modules = "nf_tables nft_fib_ipv6 nft_queue"
    return f" (are the kernel modules there? modprobe -a {modules})" if os.strerror(errno.ENOENT) in said else ""
