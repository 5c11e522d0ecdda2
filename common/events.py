"""Every event that a daemon counts and logs, what kind it is, and what an operator should know about it.

A name that ends with `-*` stands for all that begin so: what follows is the reason, a status or a message. The table in
docs/operating.md says the same (a test compares them).
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from logging import ERROR, INFO, WARNING


class Kind(Enum):
    """What an event says about the message that led to it, if one did."""

    DONE = "accepted"  # nothing against it
    REFUSED = "refused"  # answered with a no
    IGNORED = "ignored"  # dropped without an answer of its own
    FAILED = "failed"  # the kernel or the network did not do what was to be done


@dataclass(frozen=True, slots=True)
class Event:
    """`level` is one of the logging module; journald shows it as a priority."""

    level: int
    kind: Kind
    meaning: str


EVENTS = {
    # Both daemons.
    "adopted": Event(
        INFO, Kind.DONE, "sessions of an earlier life go on; strays of it were removed from the kernel, or forgotten"
    ),
    "started": Event(INFO, Kind.DONE, "the daemon serves"),
    "reloaded": Event(INFO, Kind.DONE, "SIGHUP: the file was read again; what changed, and what needs a restart"),
    "reload-refused": Event(ERROR, Kind.FAILED, "SIGHUP: the file is wrong; everything stays as it was"),
    "malformed-*": Event(INFO, Kind.IGNORED, "octets that are no message; the reason is one of `codec.decode`"),
    "unknown-mh-type": Event(
        INFO, Kind.IGNORED, "a Mobility Header type that is not spoken here: a Binding Error goes back"
    ),
    "unexpected-*": Event(INFO, Kind.IGNORED, "a message that this node, or the scheme that it runs, has no use for"),
    "unauthorized-source": Event(WARNING, Kind.IGNORED, "a message from an address that is no configured peer"),
    "context-not-supported": Event(
        INFO, Kind.DONE, "the peer does not know the extension and is served as RFC 5213 says"
    ),
    "fast-handover-not-supported": Event(
        INFO, Kind.DONE, "the peer does not know the Fast Handover Scheme and is served as RFC 5213 says"
    ),
    "data-plane-refused": Event(
        ERROR, Kind.FAILED, "the kernel refused a tunnel, route, rule or queue; the reason follows"
    ),
    "tunnel-mended": Event(WARNING, Kind.DONE, "somebody had deleted the tunnel to a peer: it was made anew"),
    "table-mended": Event(
        WARNING, Kind.DONE, "somebody had deleted the table of nftables: made anew, but what waited is lost"
    ),
    "state-not-stored": Event(
        ERROR, Kind.FAILED, "the state directory's disk is full, or failed: served as before, but a restart forgets"
    ),
    "state-stored-again": Event(WARNING, Kind.DONE, "the state directory can be written again, and has all"),
    "journal-not-written": Event(
        ERROR, Kind.FAILED, "the journal's disk is full, or failed: served as before, but lines are missing from now on"
    ),
    "journal-written-again": Event(WARNING, Kind.DONE, "the journal can be written again; so many lines are missing"),
    "send-failed": Event(WARNING, Kind.FAILED, "a message could not be sent: no route, or it does not fit its format"),
    "socket-error": Event(INFO, Kind.DONE, "the network reported an ICMP error about a message of ours"),
    "revocation-refused-*": Event(
        WARNING, Kind.REFUSED, "a peer's revocation was refused, or ours by it; the number is the status (RFC 5846 5.2)"
    ),
    "heartbeat-unmatched": Event(INFO, Kind.IGNORED, "the answer to a heartbeat that nobody waits for"),
    "heartbeat-not-supported": Event(INFO, Kind.DONE, "the peer does not know heartbeats and is asked no more"),
    "peer-failed": Event(ERROR, Kind.DONE, "more than missing_heartbeats_allowed heartbeats had no answer"),
    "peer-recovered": Event(WARNING, Kind.DONE, "a peer that had failed answers again"),
    "peer-restarted": Event(WARNING, Kind.DONE, "the peer was restarted and has lost its sessions"),
    # The anchor.
    "refused-*": Event(
        WARNING, Kind.REFUSED, "a Proxy Binding Update or context was refused; the reason is the status' name"
    ),
    "deregistration-ignored": Event(
        INFO, Kind.IGNORED, "a de-registration by a MAG that does not serve the MN (5.3.5)"
    ),
    "binding-deleted": Event(INFO, Kind.DONE, "nobody registered the MN within min_delay_before_bce_delete"),
    "registered-binding-expired": Event(INFO, Kind.DONE, "the lifetime of a binding ran out without a refresh"),
    "context-binding-expired": Event(
        WARNING, Kind.DONE, "the MN came nowhere within context_lifetime; what was held is gone"
    ),
    "hold-started": Event(INFO, Kind.DONE, "packets for the MN wait in the kernel from now on"),
    "hold-released": Event(INFO, Kind.DONE, "they have gone out, in order"),
    "served-with-less": Event(
        WARNING,
        Kind.DONE,
        "the kernel refused a hold, or uplink from old MAGs: the MN is served without; packets may suffer",
    ),
    "context-unacknowledged": Event(
        WARNING, Kind.DONE, "the new MAG did not acknowledge a context, though asked twice; it is asked on"
    ),
    "context-part-repeated": Event(INFO, Kind.IGNORED, "a part of a context that was here already"),
    "context-part-without-context": Event(INFO, Kind.IGNORED, "a part of a context that nobody knows"),
    "acknowledgement-without-context": Event(INFO, Kind.IGNORED, "the acknowledgement of a context that nobody knows"),
    "revocation-unanswered": Event(WARNING, Kind.DONE, "a MAG did not answer a revocation, though asked twice"),
    "waits-for-deregistration": Event(
        INFO, Kind.DONE, "a registration that may be a handoff waits for the old MAG's word (RFC 5213 5.4.1.2)"
    ),
    "session-given-up": Event(INFO, Kind.DONE, "a MAG said, or its restart did, that it has a session no more"),
    "revoked": Event(INFO, Kind.DONE, "a session ended by the operator's word"),
    "revoked-by-mag": Event(INFO, Kind.DONE, "a session ended by its MAG's word"),
    "global-revocation": Event(INFO, Kind.DONE, "many sessions of a MAG are being revoked at once"),
    "bra-without-bri": Event(INFO, Kind.IGNORED, "the answer to a revocation that nobody waits for"),
    "ignored-*": Event(INFO, Kind.IGNORED, "a request, named, by a MAG that does not serve the MN"),
    "refused-by-nmag-*": Event(
        WARNING, Kind.DONE, "the new MAG will not have the MN; the number is the status; it is the old MAG's again"
    ),
    "reverse-pbu-unanswered": Event(WARNING, Kind.DONE, "the new MAG did not answer a Reverse PBU, sent three times"),
    "reverse-pba-without-reverse-pbu": Event(INFO, Kind.IGNORED, "the answer to a Reverse PBU that nobody waits for"),
    # The gateway.
    "attached": Event(INFO, Kind.DONE, "the MN has come"),
    "detached": Event(INFO, Kind.DONE, "the MN has left"),
    "removed": Event(INFO, Kind.DONE, "nothing of the MN is left here"),
    "unknown-mobile-node": Event(WARNING, Kind.IGNORED, "somebody without a policy profile: no service"),
    "handover-announced": Event(INFO, Kind.DONE, "the MN is about to leave, for the MAG named"),
    "handover-not-announced": Event(
        INFO, Kind.IGNORED, "an announced move that the scheme, or the MN's state, has no use for"
    ),
    "pbu-refused-*": Event(
        WARNING, Kind.REFUSED, "the LMA refused to serve the MN; the number is the status (RFC 5213 8.9)"
    ),
    "context-refused-*": Event(WARNING, Kind.REFUSED, "the LMA refused a context; the number is the status"),
    "pba-options-differ": Event(
        ERROR, Kind.IGNORED, "the LMA's answer names another access than asked for (6.9.1.2): no service"
    ),
    "pba-without-pbu": Event(INFO, Kind.IGNORED, "an answer that nobody waits for: late, or a repetition"),
    "deregistration-unanswered": Event(WARNING, Kind.DONE, "the LMA did not answer a de-registration within a second"),
    "registration-expired": Event(
        WARNING, Kind.DONE, "the LMA did not extend a registration in time; it is asked anew"
    ),
    "fast-pbu-refused-*": Event(
        WARNING, Kind.REFUSED, "the LMA, or the new MAG, refused a fast handover; the number is the status"
    ),
    "fast-pbu-unanswered": Event(WARNING, Kind.DONE, "the LMA did not answer a Fast PBU, sent three times"),
    "fast-pba-without-fast-pbu": Event(INFO, Kind.IGNORED, "an answer that nobody waits for: late, or a repetition"),
    "expected": Event(INFO, Kind.DONE, "a link layer says from which MAG the MN comes, should it come"),
    "previous-mag-unknown": Event(
        WARNING, Kind.DONE, "an MN comes from a MAG that is no peer: registered as RFC 5213 says"
    ),
    "handover-refused-*": Event(
        WARNING, Kind.REFUSED, "RFC 5949: a handover was refused, here for that reason or by the peer with that code"
    ),
    "handover-initiate-late": Event(
        INFO, Kind.REFUSED, "a Handover Initiate that a later one has overtaken, or a copy"
    ),
    "handover-initiate-unanswered": Event(
        WARNING, Kind.DONE, "a peer did not answer a Handover Initiate, sent four times"
    ),
    "hack-without-hi": Event(INFO, Kind.IGNORED, "an answer that nobody waits for: late, or a repetition"),
    "handover-elsewhere": Event(INFO, Kind.DONE, "the MN came to another MAG than the one it was announced to"),
    "handover-not-followed": Event(
        INFO, Kind.DONE, "no MAG asked for an MN that left, or an announced one stayed, for handover_lifetime"
    ),
    "context-stored": Event(INFO, Kind.DONE, "the context of an MN has come, which is awaited now"),
    "context-stale": Event(INFO, Kind.IGNORED, "a context for an MN that is served here already"),
    "context-expired": Event(INFO, Kind.DONE, "a context ran out before its MN came"),
    "pba-without-binding": Event(
        ERROR, Kind.IGNORED, "the LMA accepted without a prefix, or for no time: no service until an operator says so"
    ),
    "link-local-address-made-up": Event(
        WARNING,
        Kind.DONE,
        "the LMA gave the MN's router no address, or one that the MN has: it is told another (RFC 5213 6.9.1.2, 15)",
    ),
    "prefix-not-allowed": Event(
        ERROR, Kind.REFUSED, "the LMA assigned a prefix that the MN's profile does not allow: no service"
    ),
    "request-deferred": Event(
        INFO, Kind.DONE, "a fourth request for the MN within a second waits for its end (RFC 6275 11.8)"
    ),
    "unreachable": Event(
        WARNING, Kind.DONE, "the MN does not answer Neighbor Solicitations: it is de-registered (RFC 5213 6.13)"
    ),
    "tunnel-mtu-changed": Event(INFO, Kind.DONE, "the way to the LMA takes other packets now: the MNs are told"),
    "solicitations-flood": Event(
        WARNING, Kind.IGNORED, "more neighbour discovery on an access link than it may have: not read for a moment"
    ),
    "access-link-replaced": Event(
        ERROR, Kind.FAILED, "an access interface was made anew or renamed: no service on it until the daemon restarts"
    ),
    "solicitation-failed": Event(WARNING, Kind.FAILED, "a Neighbor Solicitation could not be sent: the link went down"),
    "advertisement-failed": Event(WARNING, Kind.FAILED, "a Router Advertisement could not be sent: the link went down"),
}
_UNKNOWN = Event(INFO, Kind.DONE, "")


@cache
def pattern(name: str) -> str | None:
    """The key of `EVENTS` that the event belongs to."""
    if name in EVENTS:
        return name
    return max((key for key in EVENTS if key.endswith("*") and name.startswith(key[:-1])), key=len, default=None)


def event(name: str) -> Event:
    """Raises nothing: an event that the table lacks is information (and a test finds it)."""
    key = pattern(name)
    return EVENTS[key] if key else _UNKNOWN
