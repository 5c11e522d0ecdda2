"""What a local mobility anchor remembers of an earlier life, and how it goes on with that."""

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, IPv6Network
from types import NoneType
from typing import Any

from common.actions import Forward, Forwarding, ToPeer
from common.mh import codec
from common.mh.messages import MnId
from common.recording import Life, Rows
from common.records import Recorded, Table
from lmad.binding_cache import BindingCacheEntry, HandoverState, State
from lmad.config import LmadConfig
from lmad.lma import LocalMobilityAnchor


def tables(core: LocalMobilityAnchor, scheme: str) -> tuple[Table[Any, Any], ...]:
    """All that is stored, as tables of the running core; `scheme` is the name of the core's."""
    kinds = {HandoverState: core.scheme.handover_kind or NoneType}
    about: Recorded[str, str] = Recorded()
    about["scheme"] = scheme
    return (
        Table("about", about, str, str),
        Table("binding", core.binding_cache.entries, IPv6Network, BindingCacheEntry, kinds),
        Table("last-owner", core.pool.returned, IPv6Network, MnId),
        *core.scheme.tables(),
    )


def adopt(core: LocalMobilityAnchor, loaded: Mapping[str, Mapping[Any, Any]], scheme: str) -> list[Forward]:
    """Go on with every session that the configuration still has a place for; how the kernel is to forward them.

    What has run out meanwhile is not looked at here: it ends with the core's next `expire`, as ever.
    """
    forwards: list[Forward] = []
    same_scheme = loaded["about"].get("scheme") == scheme
    for bce in loaded["binding"].values():
        in_handover = bce.handover is not None or bce.state is State.CONTEXT
        forwarding = core.scheme.forwarding(bce) if same_scheme or not in_handover else None
        if forwarding is None or not _has_place(core, bce, forwarding):
            continue
        core.binding_cache.adopt(bce)
        forwards.append(Forward(bce.mn_id, bce.hnps, forwarding))
        for prefix in bce.hnps:
            core.pool.adopt(prefix, bce.mn_id)
    for prefix, mn_id in loaded["last-owner"].items():
        core.pool.adopt_last(prefix, mn_id)
    for table in core.scheme.tables():
        table.rows.update(loaded[table.name])
    return forwards


def life(core: LocalMobilityAnchor, loaded: Rows | None, config: LmadConfig, now: float) -> Life[LmadConfig]:
    """Of this anchor, for the journal; to be asked for as soon as it has adopted what was loaded."""
    numbers = {"restart_counter": core.heartbeats.restart_counter}
    return Life.of(core, config, numbers, now, tables=tables(core, config.lma.scheme), loaded=loaded)


def relive(life: Life[LmadConfig], utc: Callable[[float], float]) -> LocalMobilityAnchor:
    """An anchor that begins as that one did."""
    codec.use(life.configuration.extension.code_points())
    core = LocalMobilityAnchor(life.configuration, utc, **life.numbers)
    scheme = life.configuration.lma.scheme
    adopt(core, life.loaded(tables(core, scheme)), scheme)
    return core


def _has_place(core: LocalMobilityAnchor, bce: BindingCacheEntry, forwarding: Forwarding) -> bool:
    """Another configuration may have come: without this MN, MAG or pool."""
    if bce.mn_id not in core.domain.mobile_nodes or not _mags(bce, forwarding) <= core.domain.mags:
        return False
    fixed = core.domain.mobile_nodes[bce.mn_id].prefixes
    return all(prefix in fixed or core.pool.is_ours(prefix) for prefix in bce.hnps)


def _mags(bce: BindingCacheEntry, forwarding: Forwarding) -> set[IPv6Address]:
    """Every MAG that the session needs."""
    downlink = {forwarding.downlink.peer} if isinstance(forwarding.downlink, ToPeer) else set()
    giver = {forwarding.returned_from} if forwarding.returned_from else set()
    return {bce.proxy_coa, *downlink, *forwarding.uplink_from, *giver}
