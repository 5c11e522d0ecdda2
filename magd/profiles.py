"""Policy profiles of mobile nodes (RFC 5213 section 6.2): who it is that came, and what it is entitled to.

An MN has one profile for each of its interfaces, told apart by their link-layer identifiers. Who has none gets no
service; that such a stranger came is worth one word, however often it calls.
"""

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network

from common.mh.messages import AccessTechnologyType, MnId
from magd.config import MagdConfig, MobileNode

MAX_STRANGERS = 1024  # that are remembered; the longest known is forgotten first


class Profile:
    """One interface of one MN."""

    def __init__(self, node: MobileNode, config: MagdConfig) -> None:
        self.mn_id = MnId.nai(node.mn_id)
        self.ll_id: bytes | None = node.ll_id
        self.interface = node.interface
        self.lma: IPv6Address = node.lma or config.mag.lma
        technology = config.mag.access_technology if node.access_technology is None else node.access_technology
        self.access_technology = AccessTechnologyType(technology)
        self.home_network_prefixes = node.home_network_prefixes
        self._allowed = node.allowed_prefixes

    def allows(self, hnps: Iterable[IPv6Network]) -> bool:
        """Whether all of them may be this MN's."""
        return not self._allowed or all(any(hnp.subnet_of(outer) for outer in self._allowed) for hnp in hnps)


class Profiles:
    """All that the configuration has."""

    def __init__(self, config: MagdConfig) -> None:
        self._strangers: OrderedDict[tuple[object, str], None] = OrderedDict()
        self.follow(config)

    def follow(self, config: MagdConfig) -> None:
        """Have the profiles of this configuration instead. Who was a stranger may be one no more."""
        self._strangers.clear()
        self._carriers_tell = "link" in config.mag.attachment
        profiles = [Profile(node, config) for node in config.mobile_node]
        self._of_mn: dict[MnId, list[Profile]] = {}
        for profile in profiles:
            self._of_mn.setdefault(profile.mn_id, []).append(profile)
        self._by_ll_id = {profile.ll_id: profile for profile in profiles if profile.ll_id}
        self._by_interface = {profile.interface: profile for profile in profiles if profile.interface}

    def on_link(self, interface: str, ll_id: bytes | None = None) -> Profile | None:
        """Who it is that has this link-layer identifier; without a profile of that, whose own link it is."""
        known = self._by_ll_id.get(ll_id) if ll_id else None
        return known or self._by_interface.get(interface)

    def carrier_tells(self, interface: str) -> bool:
        """Whether the carrier of this access link is its only MN's, and heeded."""
        return self._carriers_tell and interface in self._by_interface

    def has(self, mn_id: MnId, ll_id: bytes | None) -> bool:
        """Whether that interface of the MN has a profile: one that names no other."""
        return any(None in (ll_id, profile.ll_id) or profile.ll_id == ll_id for profile in self._of_mn.get(mn_id, ()))

    def of(self, mn_id: MnId, *, ll_id: bytes | None = None, interface: str = "") -> Profile | None:
        """The MN's profile: of the interface with that identifier, else the one on that link, else its first."""
        profiles = self._of_mn.get(mn_id, ())
        if len(profiles) == 1:
            return profiles[0]
        chosen = [profile for profile in profiles if ll_id and profile.ll_id == ll_id]
        chosen += [profile for profile in profiles if interface and profile.interface == interface]
        return next(iter((*chosen, *profiles)), None)

    def is_new_stranger(self, who: object, interface: str) -> bool:
        """Whether this one, who has no profile, was not seen on the link before."""
        key = (who, interface)
        if key in self._strangers:
            return False
        self._strangers[key] = None
        if len(self._strangers) > MAX_STRANGERS:
            self._strangers.popitem(last=False)
        return True

    def forget_strangers(self, interface: str) -> None:
        """The link went down: who comes next is news again."""
        for key in [key for key in self._strangers if key[1] == interface]:
            del self._strangers[key]
