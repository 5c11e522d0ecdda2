"""What the kernel keeps from a daemon, and from its peers' tunnels, before anybody has read it.

Signalling comes from few, and may come from them by one way only: the one that leads to them. Each peer has a budget of
its own (a token bucket), all strangers together a small one, so that the daemon can say no to some and count the rest.
An MN has no business with the signalling, the tunnels or the routing of the domain. docs/security.md tells the whole.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address

MOBILITY, IPV6_IN_IPV6, ICMPV6 = 135, 41, 58
STRANGERS_RATE, STRANGERS_BURST = 10, 20  # messages a second of all strangers together, and at once
ERRORS = "{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"
PEERS_REMEMBERED = 4096
STRANGERS_MARK = 0x5213  # of what strangers send: the socket that is not a peer's hears by it (common/mh/raw_socket.py)


@dataclass(frozen=True, slots=True)
class Guard:
    """`peers` may signal, each `rate` messages a second and `burst` at once; MNs may not on `access` links.

    On the `shared` ones of these, which several MNs may be on, what an MN sends must come from its own MAC.
    """

    peers: tuple[IPv6Address, ...]
    rate: int
    burst: int
    access: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def rules(self, tunnels: str) -> str:
        """Chains and counters; `tunnels` matches the names of the tunnel devices."""
        return self._signalling(tunnels) + (self._access() if self.access else "")

    def _signalling(self, tunnels: str) -> str:
        """What is for this node. In fragments each one counts, and each says what protocol it is a part of."""
        peers = ", ".join(map(str, self.peers))
        return f"""
            counter signalling_through_tunnel {{}}
            counter signalling_by_another_way {{}}
            counter signalling_of_strangers {{}}
            counter signalling_flood {{}}
            counter error_through_tunnel {{}}
            set peers {{ type ipv6_addr; {f"elements = {{ {peers} }};" if peers else ""} }}
            set rates {{ typeof ip6 saddr; flags dynamic; size {PEERS_REMEMBERED}; timeout 10m; }}
            chain signalling {{
                iifname "{tunnels}" counter name signalling_through_tunnel drop
                fib saddr . iif oif missing counter name signalling_by_another_way drop
                ip6 saddr @peers goto peer
                limit rate over {STRANGERS_RATE}/second burst {STRANGERS_BURST} packets \
                    counter name signalling_of_strangers drop
                meta mark set {STRANGERS_MARK}
            }}
            chain peer {{
                update @rates {{ ip6 saddr limit rate over {self.rate}/second burst {self.burst} packets }} \
                    counter name signalling_flood drop
            }}
            chain input {{
                type filter hook input priority filter - 10; policy accept;
                meta l4proto {MOBILITY} goto signalling
                iifname "{tunnels}" icmpv6 type {ERRORS} counter name error_through_tunnel drop
            }}"""

    def _access(self) -> str:
        """What comes from the access side: nothing to the domain's own nodes that could touch another MN.

        An error's report can change what this node believes of the way to an anchor, which all MNs share.
        """
        links = ", ".join(f'"{name}"' for name in self.access)
        return f"""
            counter infrastructure_from_access {{}}
            counter routing_from_access {{}}
            counter error_from_access {{}}
            {self._shared()}
            chain infrastructure {{
                fib daddr type local counter name infrastructure_from_access drop
                ip6 daddr @peers counter name infrastructure_from_access drop
            }}
            chain from_mn {{
                icmpv6 type {{ nd-router-advert, nd-redirect }} counter name routing_from_access drop
                icmpv6 type {ERRORS} fib daddr type local counter name error_from_access drop
                icmpv6 type {ERRORS} ip6 daddr @peers counter name error_from_access drop
            }}
            chain access {{
                meta l4proto vmap {{ {MOBILITY} : jump infrastructure, {IPV6_IN_IPV6} : jump infrastructure, \
                    {ICMPV6} : jump from_mn }}
                {self._judge_sender()}
            }}
            chain guard {{
                type filter hook prerouting priority raw - 3; policy accept;
                iifname {{ {links} }} goto access
            }}"""

    def _shared(self) -> str:
        if not self.shared:
            return ""
        return """
            counter sender_of_another {}
            set guarded { typeof meta iif . @nh,64,64; }
            set bound { typeof meta iif . ether saddr . @nh,64,64; }"""

    def _judge_sender(self) -> str:
        if not self.shared:
            return ""
        return """meta iif . @nh,64,64 @guarded meta iif . ether saddr . @nh,64,64 != @bound \
                    counter name sender_of_another drop"""
