"""What magd.toml may hold (see systemd/magd.toml for a commented one)."""

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from common.config import (
    BindingLifetime,
    ContextLimits,
    Extension,
    HeartbeatInterval,
    LinkLayerId,
    MissingHeartbeats,
    NetworkAccessIdentifier,
    OnStop,
    Port,
    PositiveInt,
    Seconds,
    Section,
    check_journal,
    check_on_stop,
    load,
    only_once,
)
from common.dataplane.guard import Guard
from common.dataplane.router import MAG_LINK_LOCAL, MAG_MAC, RouterAddresses
from common.errors import ConfigError
from common.schemes import SchemeName

# What SIGHUP changes at once (common/reload.py).
RELOADABLE = frozenset(
    {
        "mag.lifetime",
        "mag.verify_presence",
        "mag.timestamp_based_approach_in_use",
        "mag.heartbeat_interval",
        "mag.missing_heartbeats_allowed",
        "context_reflector.neighbours",
        "context_reflector.context_lifetime",
        "context_reflector.max_context_size",
        "context_reflector.max_context_features",
        "context_reflector.max_context_parts",
        "fast_handover.neighbours",
        "fast_handover.wait",
        "fpmipv6.handover_lifetime",
        "fpmipv6.hi_timeout",
        "fpmipv6.uplink",
        "mobile_node",
    }
)


class Mag(Section, frozen=True, kw_only=True):
    """[mag]: the gateway itself. `address` is the Proxy-CoA, `lma` the anchor of whoever's profile names no other.

    The fixed addresses are those of RFC 5213 section 9.3; ALL_ZERO: the LMA makes up a link-local address for each
    session, an access interface keeps its own link-layer address.
    `verify_presence`: whether an MN must be heard from before its binding is extended (RFC 5213 section 6.13).
    """

    address: IPv6Address
    lma: IPv6Address
    scheme: SchemeName = "pmipv6"
    access_interfaces: tuple[str, ...] = ()
    access_technology: int = 4
    attachment: tuple[Literal["link", "router-solicitation"], ...] = ("link", "router-solicitation")
    lifetime: BindingLifetime = 3600
    enable_mag_local_routing: bool = False
    heartbeat_interval: HeartbeatInterval = 60.0  # these two: RFC 5847 section 5
    missing_heartbeats_allowed: MissingHeartbeats = 3
    timestamp_based_approach_in_use: bool = True  # RFC 5213 section 9.3: the same in a whole domain
    fixed_mag_link_local_address_on_all_access_links: IPv6Address = MAG_LINK_LOCAL
    fixed_mag_link_layer_address_on_all_access_links: LinkLayerId = LinkLayerId.parse(MAG_MAC)
    verify_presence: bool = True
    dhcpv6: Literal["none", "stateless", "stateful"] = "none"
    signalling_rate: PositiveInt = 2000
    signalling_burst: PositiveInt = 4000
    control_socket: Path = Path("/run/context-reflector/magd.sock")
    journal: Path | None = None
    journal_inputs: bool = False
    metrics_address: IPv6Address | None = None
    metrics_port: Port = 9214
    state_directory: Path | None = None
    on_stop: OnStop = "remove"
    early_packet_lifetime: Seconds = 10.0


class ContextReflector(ContextLimits, frozen=True, kw_only=True):
    """[context_reflector]: `neighbours` are the MAGs to which an MN may leave; with one, it is where every MN goes."""

    neighbours: tuple[IPv6Address, ...] = ()
    context_lifetime: Seconds = 10.0
    hold_packets: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1024


class FastHandover(Section, frozen=True, kw_only=True):
    """[fast_handover]: `neighbours` as in [context_reflector]; `wait`: how long an MN that was announced is waited for.

    So long the new MAG holds packets for it, and the old one goes on being its router if it stays.
    """

    neighbours: tuple[IPv6Address, ...] = ()
    wait: Seconds = 5.0
    hold_packets: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1024


class Fpmipv6(Section, frozen=True, kw_only=True):
    """[fpmipv6]: RFC 5949. `peers` are the MAGs to and from which MNs are handed over; of one alone every MN comes."""

    peers: tuple[IPv6Address, ...] = ()
    handover_lifetime: Seconds = 3.0
    hi_timeout: Seconds = 0.1  # RFC 5568 section 6.2.1.1
    uplink: Literal["tunnel", "hold"] = "tunnel"
    hold_packets: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1024


class OpaqueContext(Section, frozen=True, kw_only=True):
    """[[mobile_node.opaque_context]]: octets that travel with the MN; `hex` or `file` gives them."""

    feature: Annotated[int, msgspec.Meta(ge=0xFF00, le=0xFFFE)]
    hex: str | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if (self.hex is None) == (self.file is None):
            raise ConfigError("an opaque context has either hex or file")
        try:
            octets = self.octets()
        except ValueError:
            raise ConfigError(f"opaque context {self.feature:#06x}: not hexadecimal digits") from None
        except OSError as error:
            raise ConfigError(f"opaque context {self.feature:#06x}: {self.file}: {error.strerror}") from None
        msgspec.structs.force_setattr(self, "hex", octets.hex())  # from here on a configuration is all that it says
        msgspec.structs.force_setattr(self, "file", None)

    def octets(self) -> bytes:
        return bytes.fromhex(self.hex) if self.hex is not None else self.file.read_bytes() if self.file else b""


class MobileNode(Section, frozen=True, kw_only=True):
    """[[mobile_node]]: a policy profile (RFC 5213 section 6.2).

    `ll_id` is how the MN is told from others on the link; with `interface`, a link of its own, the carrier alone tells.
    An MN with several interfaces has a profile for each, with an `ll_id`. `home_network_prefixes` are asked for;
    whatever the LMA assigns must lie within `allowed_prefixes`, if there are any.
    """

    mn_id: NetworkAccessIdentifier
    ll_id: LinkLayerId | None = None
    interface: str | None = None
    lma: IPv6Address | None = None
    access_technology: int | None = None
    home_network_prefixes: tuple[IPv6Network, ...] = ()
    allowed_prefixes: tuple[IPv6Network, ...] = ()
    opaque_context: tuple[OpaqueContext, ...] = ()


class MagdConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    mag: Mag
    context_reflector: ContextReflector = ContextReflector()
    fast_handover: FastHandover = FastHandover()
    fpmipv6: Fpmipv6 = Fpmipv6()
    extension: Extension = Extension()
    mobile_node: tuple[MobileNode, ...] = ()

    def __post_init__(self) -> None:
        check_on_stop(self.mag.on_stop, self.mag.state_directory)
        check_journal(self.mag.journal, self.mag.journal_inputs)
        router = self.mag.fixed_mag_link_local_address_on_all_access_links
        if not (router.is_link_local or router.is_unspecified):
            raise ConfigError(f"{router} is no link-local address")
        if self.mag.fixed_mag_link_layer_address_on_all_access_links[0] & 1:
            raise ConfigError("fixed_mag_link_layer_address_on_all_access_links is not the address of one interface")
        interfaces = [node.interface for node in self.mobile_node if node.interface]
        for interface in interfaces:
            if interface not in self.mag.access_interfaces:
                raise ConfigError(f"mobile node's interface {interface} is not among mag.access_interfaces")
        for technology in (self.mag.access_technology, *(node.access_technology for node in self.mobile_node)):
            if technology is not None and not 0 <= technology <= 255:
                raise ConfigError("access_technology is a number from 0 to 255 (RFC 5213 section 8.5)")
        only_once("peer", list(self.fpmipv6.peers))
        if {self.mag.address, self.mag.lma} & set(self.fpmipv6.peers):
            raise ConfigError("fpmipv6.peers are other MAGs, neither this one nor the LMA")
        only_once("access interface", list(self.mag.access_interfaces))
        only_once("mobile node without ll_id", [node.mn_id for node in self.mobile_node if not node.ll_id])
        several = {node.mn_id for node in self.mobile_node if node.ll_id}
        for node in self.mobile_node:
            if node.ll_id is None and node.mn_id in several:
                raise ConfigError(f"each profile of {node.mn_id} needs an ll_id, to tell its interfaces apart")
        only_once("link-layer address", [node.ll_id.hex(":") for node in self.mobile_node if node.ll_id])
        only_once("mobile node's interface", interfaces)
        opaque = [f"{each.feature:#06x} of {node.mn_id}" for node in self.mobile_node for each in node.opaque_context]
        only_once("opaque context", opaque)  # its interfaces share them

    @property
    def router(self) -> RouterAddresses:
        """What an MN sees of this gateway."""
        address = self.mag.fixed_mag_link_local_address_on_all_access_links
        mac = self.mag.fixed_mag_link_layer_address_on_all_access_links
        return RouterAddresses(mac.hex(":") if any(mac) else None, None if address.is_unspecified else address)

    @property
    def lmas(self) -> tuple[IPv6Address, ...]:
        """Every anchor that this gateway works with, each once."""
        return tuple(dict.fromkeys((self.mag.lma, *(node.lma for node in self.mobile_node if node.lma))))

    @property
    def guard(self) -> Guard:
        """Who may signal to this gateway, and which access links several MNs may be on."""
        neighbours = (*self.context_reflector.neighbours, *self.fast_handover.neighbours, *self.fpmipv6.peers)
        own = frozenset(node.interface for node in self.mobile_node)
        return Guard(
            peers=tuple(dict.fromkeys((*self.lmas, *neighbours))),
            rate=self.mag.signalling_rate,
            burst=self.mag.signalling_burst,
            access=self.mag.access_interfaces,
            shared=tuple(name for name in self.mag.access_interfaces if name not in own),
        )


def load_config(path: Path) -> MagdConfig:
    return load(path, MagdConfig)
