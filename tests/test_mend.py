"""Tunnels that somebody deletes are made anew (tests/netns has that); here some sessions' paths cannot be."""

import os
from collections.abc import Set
from ipaddress import IPv6Address, IPv6Network
from typing import cast

import pytest

from common.actions import Forward, Forwarding, ToPeer
from common.dataplane.linux import MEND_AGAIN_S, LinuxDataPlane
from common.dataplane.netlink import RouteSocket
from common.dataplane.paths import Paths
from common.dataplane.peers import PeerTunnels
from common.dataplane.roles import LMA
from common.dataplane.sessions import Sessions
from common.errors import DataPlaneError
from common.mh.messages import MnId

MAG = IPv6Address("2001:db8:0:1::1")
HNPS = [IPv6Network((0x20010DB8 << 96 | number << 64, 64)) for number in range(3)]


class NoPaths:
    """Names the prefixes; those that are `broken` have no way."""

    broken: frozenset[IPv6Network] = frozenset()

    def additions(self, hnp: IPv6Network, _before: Forwarding | None, _wanted: Forwarding) -> list[bytearray]:
        if hnp in self.broken:
            raise DataPlaneError("access interface acc1 does not exist")
        return [bytearray(str(hnp).encode())]


class NoRoutes:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def request(self, messages: list[bytearray], _ignore: frozenset[int]) -> None:
        self.asked += [message.decode() for message in messages]


class NoTunnels:
    """All are lost, and the kernel makes none while `refuses`."""

    refuses = True

    def lost(self) -> bool:
        return True

    def device(self, _peer: IPv6Address) -> str:
        return "pml0"

    def mend(self) -> frozenset[IPv6Address]:
        if self.refuses:
            raise DataPlaneError("the kernel refused to make a tunnel anew: Operation not supported")
        return frozenset({MAG})


class Mended:
    """Sessions, of which it remembers to whose tunnels they were told to be mended."""

    def __init__(self) -> None:
        self.tunnels: set[IPv6Address] = set()

    def mend(self, changed: Set[IPv6Address]) -> None:
        self.tunnels |= changed


@pytest.mark.skipif(os.geteuid() != 0, reason="netlink sockets need root")
def test_a_tunnel_that_cannot_be_made_anew_is_tried_again() -> None:
    plane, tunnels, sessions = LinuxDataPlane(LMA), NoTunnels(), Mended()
    plane._peers, plane._sessions = cast(PeerTunnels, tunnels), cast(Sessions, sessions)
    with pytest.raises(DataPlaneError):
        plane._links_changed()
    again = plane.deadline()
    assert again is not None
    with pytest.raises(DataPlaneError):
        plane.expire(again)
    tunnels.refuses = False
    plane.expire(again + MEND_AGAIN_S)
    assert (sessions.tunnels, plane.deadline()) == ({MAG}, None)
    assert [(note.event, note.peer) for note in plane.notes] == [("tunnel-mended", MAG)]


def test_a_session_that_cannot_be_mended_keeps_no_other_one_from_it() -> None:
    paths, routes = NoPaths(), NoRoutes()
    sessions = Sessions(LMA, cast(Paths, paths), cast(RouteSocket, routes), {}, frozenset())
    for number, hnp in enumerate(HNPS):
        sessions.apply(Forward(MnId.nai(f"mn{number}"), (hnp,), Forwarding(ToPeer(MAG))))
    routes.asked.clear()
    paths.broken = frozenset(HNPS[:1])
    with pytest.raises(DataPlaneError, match="1 sessions could not be mended: access interface acc1"):
        sessions.mend({MAG})
    assert routes.asked == [str(hnp) for hnp in HNPS[1:]]
