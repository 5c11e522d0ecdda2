"""A start that goes on with sessions of an earlier life: the kernel is brought to what is wanted of it, losing nothing.

What is there and right stays as it is; the order of the rest is that of any change (sessions.py): gates shut, then
paths, then strays, then what was held.
"""

import errno
from collections.abc import Mapping

from common.actions import Forwarding
from common.dataplane.elements import Element
from common.dataplane.forwardings import access_of
from common.dataplane.hold import Session
from common.dataplane.keeping import Keeping
from common.dataplane.netlink import RouteSocket
from common.dataplane.paths import Paths

SETS = ("uplink_from", "served", "held", "full", "queue_of", "waiting", "queue_of_link")  # see filter.py
SEEN_BEHIND_THE_PATH = "served"  # who is in this set has his path
THERE = frozenset({errno.EEXIST})


def install(
    sessions: Mapping[Session, Forwarding],
    listings: Mapping[Session, frozenset[Element]],
    paths: Paths,
    route_socket: RouteSocket,
    keeping: Keeping | None,
) -> int:
    """Have the sessions forwarded so; how many elements of sets were strays. Raises DataPlaneError."""
    additions = [
        message
        for session, forwarding in sessions.items()
        for hnp in session
        for message in paths.additions(hnp, None, forwarding)
    ]
    if keeping is None:
        route_socket.request(additions, THERE)
        return 0
    elements = keeping.elements
    listed = frozenset[Element]().union(*map(elements.listed, SETS))
    gates = keeping.adopt(listed, {session: wanted.held for session, wanted in sessions.items()})
    wanted = gates.union(*listings.values())
    keys = {(element.set, element.key) for element in wanted}
    elsewhere = {element for element in listed - wanted if (element.set, element.key) in keys}  # led to another queue
    early = {element for element in wanted - listed if element.set != SEEN_BEHIND_THE_PATH}
    elements.change(add=list(early), remove=list(elsewhere))
    route_socket.request(additions, THERE)
    strays = listed - wanted - elsewhere
    elements.change(add=list(wanted - listed - early), remove=list(strays))
    return len(strays)


def resume(sessions: Mapping[Session, Forwarding], keeping: Keeping) -> None:
    """What waited goes on waiting, or its way."""
    for session, wanted in sessions.items():
        keeping.uplink.path(session, access_of(wanted))
    keeping.uplink.start()
    keeping.strays.resume()
    for session, wanted in sessions.items():
        if not wanted.held:
            keeping.pool.release(session)
