"""Opaque data of local features (FTP 0xFF00 to 0xFFFE): carried on from MAG to MAG, understood by others."""

from dataclasses import replace

from common.mh.messages import ContextData, Feature
from magd.binding_update_list import BindingUpdateListEntry


class Opaque:
    def serves(self, feature: int) -> bool:
        return Feature.FIRST_LOCAL <= feature <= Feature.LAST_LOCAL

    def export(self, entry: BindingUpdateListEntry) -> list[ContextData]:
        return list(entry.opaque)

    def restore(self, entry: BindingUpdateListEntry, piece: ContextData) -> BindingUpdateListEntry:
        others = tuple(known for known in entry.opaque if known.feature != piece.feature)
        return replace(entry, opaque=(*others, piece))
