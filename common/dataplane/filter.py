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
from collections.abc import Callable, Iterable
from hashlib import sha256
from ipaddress import IPv6Address

import nftables

from common.dataplane.elements import handle_of
from common.errors import DataPlaneError

# The first 64 bits of an address, which is what home network prefixes have: cheaper to load and look up than a masked
# address. Sets show them as a number.
SOURCE, DESTINATION = "@nh,64,64", "@nh,192,64"
MARK = 0x52130000
IPV6_IN_IPV6 = 41
# Of sessions in handover a few each, which they may have long after anything was held: as many as come from a dead MAG.
UPLINK_FROM_SIZE = 1 << 16
# An outer packet starts with the tunnel's 64, one with something given back with 255: no path is 127 routers long.
GIVEN_BACK_HOP_LIMIT, GIVEN_BACK_THRESHOLD = 255, 128
UNFINISHED = "unfinished"  # a chain that a table has while it is made anew, and that nobody else's has


def lma_rules(tunnels: str, local: IPv6Address, *, returned: int | None, octets: int, sessions: int) -> str:
    """The LMA's table: `tunnels` matches their names, `returned` the queue of what MAGs give back.

    Without `returned` nothing is ever held. Else `octets` is the most that is kept of a session, `sessions` how many.
    """
    if returned is None:
        return f"""
            counter uplink_not_from_serving_mag {{}}
            chain prerouting {{
                type filter hook prerouting priority raw; policy accept;
                iifname "{tunnels}" fib saddr . iif oif missing counter name uplink_not_from_serving_mag drop
            }}"""
    return f"""
        counter uplink_not_from_serving_mag {{}}
        set uplink_from {{ typeof meta iif . {SOURCE}; size {UPLINK_FROM_SIZE}; }}
        {_hold(octets, sessions)}
        chain tunnel {{
            meta mark {MARK} queue num {returned}
            fib saddr . iif oif exists goto inner
            meta iif . {SOURCE} @uplink_from goto inner
            counter name uplink_not_from_serving_mag drop
        }}
        chain inner {{
            {DESTINATION} @held goto hold
        }}
        chain prerouting {{
            type filter hook prerouting priority raw; policy accept;
            iifname "{tunnels}" goto tunnel
            {DESTINATION} @held goto hold
            ip6 nexthdr {IPV6_IN_IPV6} ip6 hoplimit > {GIVEN_BACK_THRESHOLD} ip6 daddr {local} meta mark set {MARK}
        }}"""


def mag_rules(
    tunnels: str,
    access: Iterable[str],
    *,
    peers: Iterable[str] = (),
    early: int | None,
    uplink: bool,
    give_back: bool = True,
    octets: int,
    sessions: int,
) -> str:
    """The MAG's table: `tunnels` matches their names, `access` are the names of its access links.

    `peers` are the names of the tunnels to other MAGs. From those comes downlink only for what is in `downlink_from`,
    uplink only from what is in `uplink_from`. With `give_back` what goes back into a tunnel is marked.

    `early` is the queue of what comes down a tunnel for a prefix that is not `served`, None if nothing is ever held.
    With `uplink` what comes from an access link whose device is in `waiting` waits, before its source is judged.
    """
    links = ", ".join(f'"{name}"' for name in access)
    judge = f"iifname {{ {links} }} fib saddr . iif oif missing counter name uplink_without_binding drop"
    table = "counter uplink_without_binding {}"
    if uplink:
        table += """
            set waiting { typeof meta iif; }
            map queue_of_link { typeof meta iif : meta cpu; }
            chain link {
                ip6 saddr != fe80::/10 ip6 saddr != :: queue to meta iif map @queue_of_link
            }
            chain uplink {
                type filter hook prerouting priority raw - 1; policy accept;
                meta iif @waiting goto link
            }"""
    if early is None:
        return f"""
            {table}
            chain prerouting {{
                type filter hook prerouting priority raw; policy accept;
                {judge if links else ""}
            }}"""
    others = ", ".join(f'"{name}"' for name in peers)
    marks = f"""
        chain output {{
            type filter hook output priority raw; policy accept;
            meta mark {MARK} ip6 nexthdr {IPV6_IN_IPV6} ip6 hoplimit set {GIVEN_BACK_HOP_LIMIT}
        }}"""
    return f"""
        {table}
        set served {{ typeof {DESTINATION}; }}
        set uplink_from {{ typeof meta iif . {SOURCE}; }}
        set downlink_from {{ typeof meta iif . {DESTINATION}; }}
        {_hold(octets, sessions)}
        chain tunnel {{
            {f"meta mark set {MARK}" if give_back else ""}
            {DESTINATION} @held goto hold
            {DESTINATION} @served accept
            queue num {early}
        }}
        chain neighbour {{
            meta iif . {DESTINATION} @downlink_from goto tunnel
            meta iif . {SOURCE} @uplink_from accept
            queue num {early}
        }}
        chain prerouting {{
            type filter hook prerouting priority raw; policy accept;
            {f"iifname {{ {others} }} goto neighbour" if others else ""}
            iifname "{tunnels}" goto tunnel
            {f"iifname {{ {links} }} meta iif . {SOURCE} @uplink_from accept" if links and others else ""}
            {judge if links else ""}
        }}{marks if give_back else ""}"""


def _hold(octets: int, sessions: int) -> str:
    # A map's values need a type with a size; `meta cpu` is just a number of 32 bits. On another processor a packet
    # may see `held` before a change of the elements and the rest after: then it passes, as it may by then (gates.py).
    return f"""
        counter hold_bytes {{}}
        set held {{ typeof {DESTINATION}; size {sessions}; }}
        set full {{ typeof {DESTINATION}; size {sessions}; quota over {octets} bytes; }}
        map queue_of {{ typeof {DESTINATION} : meta cpu; size {sessions}; }}
        chain hold {{
            {DESTINATION} @full counter name hold_bytes drop
            queue to {DESTINATION} map @queue_of
        }}"""


class Filter:
    """The table `name` of the family ip6."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._table = f"ip6 {name}"
        self._nft = nftables.Nftables()
        self._rules = ""
        self._peers: tuple[IPv6Address, ...] | None = None
        self._handle: int | None = None

    def install(self, rules: str) -> None:
        """Replaces what there is; packets that wait in a queue are lost by that."""
        self._replace(f"{rules}\nchain {_digest(rules)} {{}}")
        self.adopt(rules)

    def adopt(self, rules: str) -> bool:
        """Whether there are just these, left by an earlier life; elements of sets and counters aside."""
        status, _, _ = self._nft.cmd(f"list chain {self._table} {_digest(rules)}")
        self._rules, self._handle = rules, handle_of(self._name)
        return bool(status == 0)

    def is_there(self) -> bool:
        """Whether the table is the one that was installed or adopted."""
        return self._handle is not None and self._handle == handle_of(self._name)

    def remake(self, refill: Callable[[], None]) -> None:
        """The table as it was; it sleeps until `refill` has put elements into its sets. Raises DataPlaneError."""
        self._replace(f"flags dormant;\n{self._rules}\nchain {UNFINISHED} {{}}")
        self._handle = handle_of(self._name)
        if self._peers is not None:
            self.set_peers(self._peers)
        refill()
        # Refused if it is gone again, or another.
        finish = f"delete chain {self._table} {UNFINISHED}; add chain {self._table} {_digest(self._rules)}"
        self._run(f"add table {self._table}; {finish}")

    def set_peers(self, peers: Iterable[IPv6Address]) -> None:
        """These may signal from now on, and nobody else (guard.py)."""
        self._peers = tuple(peers)
        elements = ", ".join(map(str, self._peers))
        add = f"; add element {self._table} peers {{ {elements} }}" if elements else ""
        self._run(f"flush set {self._table} peers{add}")

    def drops(self) -> dict[str, int]:
        """Packets dropped, by reason; none by rules that somebody has deleted."""
        if handle_of(self._name) is None:
            return {}
        self._nft.set_json_output(True)
        try:
            listing = json.loads(self._run(f"list counters table {self._table}"))
        finally:
            self._nft.set_json_output(False)
        counters = (item["counter"] for item in listing["nftables"] if "counter" in item)
        return {counter["name"].replace("_", "-"): counter["packets"] for counter in counters}

    def remove(self) -> None:
        self._run(f"add table {self._table}; delete table {self._table}")

    def _replace(self, content: str) -> None:
        self._run(f"add table {self._table}; delete table {self._table}; table {self._table} {{\n{content}\n}}")

    def _run(self, commands: str) -> str:
        status, output, error = self._nft.cmd(commands)
        if status:
            said = error.strip().partition("\n")[0]  # what follows repeats the rules and points at them
            raise DataPlaneError(f"nftables refused a rule: {said}{_hint(said)}")
        return str(output)


def _digest(rules: str) -> str:
    """The name of an empty chain that tells by what rules a table was made."""
    return f"rules_{sha256(rules.encode()).hexdigest()[:16]}"


def _hint(said: str) -> str:
    modules = "nf_tables nft_fib_ipv6 nft_queue nft_limit nft_quota nft_objref"
    return f" (are the kernel modules there? modprobe -a {modules})" if os.strerror(errno.ENOENT) in said else ""
