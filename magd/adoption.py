"""What a mobile access gateway remembers of an earlier life, and how it goes on with that."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import NoneType
from typing import Any

from common.actions import Forward
from common.mh import codec
from common.mh.messages import MnId
from common.recording import Life, Rows
from common.records import Recorded, Table
from magd.binding_update_list import SERVED, BindingUpdateListEntry, Deferred, HandoverState, State
from magd.config import MagdConfig
from magd.handover.pmipv6 import Pmipv6
from magd.mag import MobileAccessGateway

OF_EVERY_SCHEME = Pmipv6.states - {State.REFUSED}


def tables(core: MobileAccessGateway, scheme: str) -> tuple[Table[Any, Any], ...]:
    """All that is stored, as tables of the running core; `scheme` is the name of the core's."""
    kinds = {HandoverState: core.scheme.handover_kind or NoneType}
    key = tuple[MnId, bytes | None]
    about: Recorded[str, str] = Recorded()
    about["scheme"] = scheme
    return (
        Table("about", about, str, str),
        Table("binding-update", core.binding_update_list.entries, key, BindingUpdateListEntry, kinds),
        *core.scheme.tables(),
    )


def adopt(
    core: MobileAccessGateway,
    loaded: Mapping[str, Mapping[Any, Any]],
    config: MagdConfig,
    now: float,
) -> list[Forward]:
    """Go on with every MN that the configuration still has a place for; how the kernel is to forward its packets.

    What the LMA thinks of them by now is asked at once, by a refresh. Whether they are still on their links is for the
    attachment sources to say.
    """
    forwards: list[Forward] = []
    same_scheme = loaded["about"].get("scheme") == config.mag.scheme
    for entry in loaded["binding-update"].values():
        on_a_link_of_ours = entry.interface in {"", *config.mag.access_interfaces}
        known = on_a_link_of_ours and entry.lma in config.lmas and core.has_profile(entry.mn_id, entry.mn_ll_id)
        if not known or entry.state is State.REFUSED or not (same_scheme or entry.state in OF_EVERY_SCHEME):
            continue  # one that was refused is asked for anew when its link has a carrier
        adopted = _asked_anew(entry, now)
        core.binding_update_list.store(adopted)
        if forwarding := core.sessions.forwarding(adopted):
            forwards.append(Forward(entry.mn_id, entry.hnps, forwarding))
    for table in core.scheme.tables():
        table.rows.update(loaded[table.name])
    return forwards


def _asked_anew(entry: BindingUpdateListEntry, now: float) -> BindingUpdateListEntry:
    """What was asked for before says nothing: the MN may have been elsewhere meanwhile, and have come back."""
    if entry.state in SERVED:
        return replace(entry, refresh_at=now)
    if entry.state is State.REGISTERING and entry.outstanding and (asked := entry.outstanding.pbu.handoff_indicator):
        anew = Deferred(entry.outstanding.pbu.lifetime, asked, now)
        return replace(entry, outstanding=None, deferred=anew)
    return entry


def life(core: MobileAccessGateway, loaded: Rows | None, config: MagdConfig, now: float) -> Life[MagdConfig]:
    """Of this gateway, for the journal; to be asked for as soon as it has adopted what was loaded."""
    numbers = {"sequence": core.numbering.last, "restart_counter": core.anchors.heartbeats.restart_counter}
    return Life.of(core, config, numbers, now, tables=tables(core, config.mag.scheme), loaded=loaded)


def relive(life: Life[MagdConfig], utc: Callable[[float], float]) -> MobileAccessGateway:
    """A gateway that begins as that one did."""
    codec.use(life.configuration.extension.code_points())
    core = MobileAccessGateway(life.configuration, utc, **life.numbers)
    adopt(core, life.loaded(tables(core, life.configuration.mag.scheme)), life.configuration, life.now)
    return core


def occupied(core: MobileAccessGateway) -> frozenset[str]:
    """The access links that somebody is on, as far as we know."""
    return frozenset(entry.interface for entry in core.binding_update_list.values() if entry.present)
