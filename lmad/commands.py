"""What `lmactl` can tell lmad to do: each command a function of the request's keys, returning what JSON can hold."""

from collections.abc import Callable
from ipaddress import IPv6Address

from common.control import CommandError, Handler
from common.daemon import Shell
from common.mh.messages import MnId
from lmad.lma import LocalMobilityAnchor


def commands(core: LocalMobilityAnchor, shell: Shell, clock: Callable[[], float]) -> dict[str, Handler]:
    """Command name -> what carries it out."""

    def revoke(mn_id: str | None = None, mag: str | None = None, realm: str | None = None) -> dict[str, object]:
        if mn_id is not None:
            who = MnId.nai(mn_id)
            count = len(core.binding_cache.of(who))
            if not count:
                raise CommandError(f"{mn_id} has no session")
            actions = core.revoke(who, clock())
        else:
            address = IPv6Address(mag or "::")
            if address not in core.domain.mags:
                raise CommandError(f"{address} is none of the configured MAGs")
            count = core.binding_cache.count_at(address)
            actions = core.revoke_at(address, realm, clock())
        shell.feed(actions)
        return {"sessions": count}

    return {"revoke": revoke}
