"""One ip6tnl per peer (RFC 5213 section 5.6.1), made at start and kept: a handover only points routes at them."""

import hashlib
from ipaddress import IPv6Address

from pyroute2 import IPRoute

IP6_TNL_F_IGN_ENCAP_LIMIT = 0x1
IN6_ADDR_GEN_MODE_NONE = 1
HOP_LIMIT = 64


def device_name(prefix: str, local: IPv6Address, remote: IPv6Address) -> str:
    """A name that the pair of addresses fixes, so that a restarted daemon finds its tunnel again (15 octets)."""
    return prefix + hashlib.sha256(local.packed + remote.packed).hexdigest()[: 15 - len(prefix)]


def ensure(ipr: IPRoute, prefix: str, local: IPv6Address, remotes: set[IPv6Address]) -> dict[IPv6Address, int]:
    """Have exactly these tunnels among the devices with our prefix; returns the device index of each."""
    wanted = {device_name(prefix, local, remote): remote for remote in remotes}
    found: dict[IPv6Address, int] = {}
    for link in ipr.get_links():
        name = link.get_attr("IFLA_IFNAME")
        if not name.startswith(prefix) or link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") != "ip6tnl":
            continue
        if name in wanted:
            found[wanted[name]] = link["index"]
        else:
            ipr.link("del", index=link["index"])
    for name, remote in wanted.items():
        if remote not in found:
            found[remote] = _create(ipr, name, local, remote)
        ipr.link("set", index=found[remote], state="up")
    return found


def _create(ipr: IPRoute, name: str, local: IPv6Address, remote: IPv6Address) -> int:
    ipr.link(
        "add",
        ifname=name,
        kind="ip6tnl",
        ip6tnl_local=str(local),
        ip6tnl_remote=str(remote),
        ip6tnl_ttl=HOP_LIMIT,
        ip6tnl_proto=41,  # IPv6 in IPv6 only
        ip6tnl_flags=IP6_TNL_F_IGN_ENCAP_LIMIT,  # 8 octets that nobody reads (RFC 2473 section 6.6)
    )
    index: int = ipr.link_lookup(ifname=name)[0]
    # Nobody talks on the tunnel itself: no link-local address, no router solicitations.
    ipr.link("set", index=index, IFLA_AF_SPEC=address_generation(IN6_ADDR_GEN_MODE_NONE))
    return index


def address_generation(mode: int) -> dict[str, object]:
    """IFLA_AF_SPEC of a device that makes itself a link-local address, or does not."""
    return {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", mode)]})]}
