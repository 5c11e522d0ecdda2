"""What of a mobile node's state travels with it: one feature a file.

A feature exports an MN's state when it leaves and restores it from octets where the MN comes; both are pure. One that
cannot read what it is given raises ValueError: it is then skipped, and starts from nothing.
"""

from typing import Protocol

from common.mh.messages import ContextData, Feature
from magd.binding_update_list import BindingUpdateListEntry
from magd.context.opaque import Opaque
from magd.context.policy_profile import PolicyProfile


class ContextFeature(Protocol):
    """`export` gives the pieces that belong to this feature, none if there is nothing to carry."""

    def serves(self, feature: int) -> bool: ...
    def export(self, entry: BindingUpdateListEntry) -> list[ContextData]: ...
    def restore(self, entry: BindingUpdateListEntry, piece: ContextData) -> BindingUpdateListEntry: ...


FEATURES: tuple[ContextFeature, ...] = (PolicyProfile(), Opaque())
# Written and read by the scheme itself, for they are its own: who comes next, and how requests go on.
SCHEME_FEATURES = frozenset({Feature.NMAG_ADDRESS, Feature.BINDING_STATE})


def export(entry: BindingUpdateListEntry) -> tuple[ContextData, ...]:
    return tuple(piece for feature in FEATURES for piece in feature.export(entry))


def restore(
    entry: BindingUpdateListEntry, pieces: tuple[ContextData, ...]
) -> tuple[BindingUpdateListEntry, tuple[int, ...]]:
    """The entry with what could be restored, and the numbers of the features that could not."""
    failed: list[int] = []
    for piece in pieces:
        feature = next((each for each in FEATURES if each.serves(piece.feature)), None)
        if feature is None:
            continue  # of a later version, or the scheme's own
        try:
            entry = feature.restore(entry, piece)
        except ValueError:
            failed.append(piece.feature)
    return entry, tuple(failed)
