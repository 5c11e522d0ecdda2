"""Routes, source rules and neighbour entries of mobility sessions, encoded beforehand.

Everything carries our route protocol number, so that a later start finds it.
"""

import struct
from functools import lru_cache
from ipaddress import IPv6Network
from socket import AF_INET6

from pyroute2.netlink.rtnl import (
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_NEWRULE,
)
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_TO_TBL, fibmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from common.dataplane.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Template

RTN_UNICAST, RTN_BLACKHOLE = 1, 6
RT_TABLE_UNSPEC, RT_TABLE_MAIN, RT_TABLE_MAX_SHORT = 0, 254, 255
LOCAL_TABLE = 5212  # home network prefixes that are on this MAG's access links
NUD_PERMANENT = 0x80
HNP_METRIC, GIVE_BACK_METRIC, LAST_METRIC = 1024, 2048, 4096
RULE_PRIORITY = 5213

# What stands in a template where the session's own values go: octets that nothing else in a message looks like.
_PREFIX = bytes.fromhex("fd52130052131111deadbeef00000000")
_GATEWAY = bytes.fromhex("fe800000000000005213deadbeef5213")
_MAC = bytes.fromhex("02dead5213be")
_IFINDEX = struct.pack("=I", 0x5EADBE57)
_TABLE = struct.pack("=I", 0x5EADBE58)
_IFNAME = b"x5213-access-if"  # 15 octets, the longest name; shorter ones are filled up with zeros


def link_local_of(mac: bytes) -> bytes:
    """The EUI-64 link-local address of a MAC (RFC 4291 appendix A), packed."""
    return bytes.fromhex("fe80000000000000") + bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))


def prepare(protocol: int) -> None:
    """Encode every template, so that no handover waits for it."""
    hnp, mac = IPv6Network("2001:db8::/64"), bytes(6)
    to_device(protocol, hnp, 0)
    to_node(protocol, hnp, 0, mac)
    forget_node(protocol, 0, mac)
    blackhole(protocol, hnp)
    no_route(protocol, hnp)
    give_back(protocol, hnp, 0)
    give_back(protocol, hnp, 0, remove=True)
    source_rule(protocol, hnp, "", 0)
    source_rule(protocol, hnp, "", 0, remove=True)


def to_device(protocol: int, hnp: IPv6Network, ifindex: int) -> bytearray:
    """HNP straight into a device: a tunnel, or an access link where the MN is found by neighbour discovery."""
    return _route(protocol, hnp.prefixlen, RTN_UNICAST, False).fill(
        prefix=hnp.network_address.packed, ifindex=struct.pack("=I", ifindex)
    )


def to_node(protocol: int, hnp: IPv6Network, ifindex: int, mac: bytes) -> list[bytearray]:
    """HNP to the MN with this MAC, which is the only one that has addresses of it: no neighbour discovery needed."""
    device, gateway = struct.pack("=I", ifindex), link_local_of(mac)
    return [
        _neighbour(protocol, RTM_NEWNEIGH).fill(gateway=gateway, mac=mac, ifindex=device),
        _route(protocol, hnp.prefixlen, RTN_UNICAST, True).fill(
            prefix=hnp.network_address.packed, gateway=gateway, ifindex=device
        ),
    ]


def forget_node(protocol: int, ifindex: int, mac: bytes) -> bytearray:
    return _neighbour(protocol, RTM_DELNEIGH).fill(
        gateway=link_local_of(mac), mac=mac, ifindex=struct.pack("=I", ifindex)
    )


def blackhole(protocol: int, prefix: IPv6Network) -> bytearray:
    return _blackhole(protocol, prefix.prefixlen).fill(prefix=prefix.network_address.packed)


def attract(protocol: int, pool: IPv6Network) -> bytearray:
    """A pool's own route, for prefixes that nobody has; the metric leaves an operator's route to the pool alone."""
    return _blackhole(protocol, pool.prefixlen, LAST_METRIC).fill(prefix=pool.network_address.packed)


def no_route(protocol: int, hnp: IPv6Network) -> bytearray:
    return _no_route(protocol, hnp.prefixlen, HNP_METRIC).fill(prefix=hnp.network_address.packed)


def local(protocol: int, hnp: IPv6Network, ifindex: int, mac: bytes | None) -> bytearray:
    """HNP to its MN, for what comes from the access links of the same MAG (RFC 5213 section 6.10.3)."""
    gateway = {"gateway": link_local_of(mac)} if mac else {}
    template = _route(protocol, hnp.prefixlen, RTN_UNICAST, mac is not None, table=LOCAL_TABLE)
    return template.fill(prefix=hnp.network_address.packed, ifindex=struct.pack("=I", ifindex), **gateway)


def no_local(protocol: int, hnp: IPv6Network) -> bytearray:
    template = _no_route(protocol, hnp.prefixlen, HNP_METRIC, table=LOCAL_TABLE)
    return template.fill(prefix=hnp.network_address.packed)


def give_back(protocol: int, hnp: IPv6Network, ifindex: int, *, remove: bool = False) -> bytearray:
    """HNP into the tunnel while the access link has no carrier: its own route is better, but not usable then."""
    prefix = hnp.network_address.packed
    if remove:
        return _no_route(protocol, hnp.prefixlen, GIVE_BACK_METRIC).fill(prefix=prefix)
    template = _route(protocol, hnp.prefixlen, RTN_UNICAST, False, GIVE_BACK_METRIC)
    return template.fill(prefix=prefix, ifindex=struct.pack("=I", ifindex))


def source_rule(protocol: int, hnp: IPv6Network, interface: str, table: int, *, remove: bool = False) -> bytearray:
    """What comes in from this access link with a source in HNP is routed by `table`."""
    name = interface.encode()
    return _rule(protocol, hnp.prefixlen, RTM_DELRULE if remove else RTM_NEWRULE).fill(
        prefix=hnp.network_address.packed, ifname=name.ljust(len(_IFNAME), b"\0"), table=struct.pack("=I", table)
    )


def _address(packed: bytes) -> str:
    return ":".join(packed[i : i + 2].hex() for i in range(0, 16, 2))


def _number(packed: bytes) -> int:
    value: int = struct.unpack("=I", packed)[0]
    return value


def _route_message(
    protocol: int, length: int, kind: int, metric: int = HNP_METRIC, table: int = RT_TABLE_MAIN
) -> rtmsg:
    message = rtmsg()
    message["family"], message["dst_len"] = AF_INET6, length
    message["table"] = table if table <= RT_TABLE_MAX_SHORT else RT_TABLE_UNSPEC
    message["proto"], message["type"] = protocol, kind
    message["attrs"] = [("RTA_DST", _address(_PREFIX)), ("RTA_PRIORITY", metric), ("RTA_TABLE", table)]
    return message


@lru_cache
def _route(
    protocol: int, length: int, kind: int, via: bool, metric: int = HNP_METRIC, *, table: int = RT_TABLE_MAIN
) -> Template:
    message = _route_message(protocol, length, kind, metric, table)
    message["attrs"].append(("RTA_OIF", _number(_IFINDEX)))
    holes = {"prefix": _PREFIX, "ifindex": _IFINDEX}
    if via:
        message["attrs"].append(("RTA_GATEWAY", _address(_GATEWAY)))
        holes["gateway"] = _GATEWAY
    return Template(message, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, **holes)


@lru_cache
def _blackhole(protocol: int, length: int, metric: int = HNP_METRIC) -> Template:
    message = _route_message(protocol, length, RTN_BLACKHOLE, metric)
    return Template(message, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, prefix=_PREFIX)


@lru_cache
def _no_route(protocol: int, length: int, metric: int, *, table: int = RT_TABLE_MAIN) -> Template:
    return Template(_route_message(protocol, length, 0, metric, table), RTM_DELROUTE, 0, prefix=_PREFIX)


@lru_cache
def _neighbour(protocol: int, kind: int) -> Template:
    message = ndmsg()
    message["family"], message["ifindex"], message["state"] = AF_INET6, _number(_IFINDEX), NUD_PERMANENT
    message["attrs"] = [("NDA_DST", _address(_GATEWAY)), ("NDA_LLADDR", _MAC.hex(":")), ("NDA_PROTOCOL", protocol)]
    flags = NLM_F_CREATE | NLM_F_REPLACE if kind == RTM_NEWNEIGH else 0
    return Template(message, kind, flags, gateway=_GATEWAY, mac=_MAC, ifindex=_IFINDEX)


@lru_cache
def _rule(protocol: int, length: int, kind: int) -> Template:
    message = fibmsg()
    message["family"], message["src_len"], message["action"] = AF_INET6, length, FR_ACT_TO_TBL
    message["attrs"] = [
        ("FRA_SRC", _address(_PREFIX)),
        ("FRA_IIFNAME", _IFNAME.decode()),
        ("FRA_TABLE", _number(_TABLE)),
        ("FRA_PRIORITY", RULE_PRIORITY),
        ("FRA_PROTOCOL", protocol),
    ]
    flags = NLM_F_CREATE | NLM_F_EXCL if kind == RTM_NEWRULE else 0
    return Template(message, kind, flags, prefix=_PREFIX, ifname=_IFNAME, table=_TABLE)
