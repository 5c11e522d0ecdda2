"""What lmad.toml may hold (see systemd/lmad.toml for a commented one)."""

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from common.config import (
    BindingLifetime,
    ContextLimits,
    Extension,
    HeartbeatInterval,
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
from common.errors import ConfigError
from common.mh.messages import MAX_HOME_NETWORK_PREFIXES
from common.schemes import SchemeName

HNP_LENGTH = 64
PrefixCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_HOME_NETWORK_PREFIXES)]

# What SIGHUP changes at once (common/reload.py). `downlink` is not in it: it decides how a handover under way forwards.
RELOADABLE = frozenset(
    {
        "lma.prefix_count",
        "lma.max_bindings",
        "lma.max_sessions_per_mobile_node",
        "lma.max_lifetime",
        "lma.min_delay_before_bce_delete",
        "lma.max_delay_before_new_bce_assign",
        "lma.revoke_on_unknown_handoff",
        "lma.timestamp_validity_window",
        "lma.timestamp_based_approach_in_use",
        "lma.mobile_node_generated_timestamp_in_use",
        "lma.bri_max_retries_number",
        "lma.init_min_delay_bris",
        "lma.max_brack_timeout",
        "lma.heartbeat_interval",
        "lma.missing_heartbeats_allowed",
        "context_reflector.order",
        "context_reflector.context_lifetime",
        "context_reflector.acknowledge",
        "context_reflector.max_context_size",
        "context_reflector.max_context_features",
        "context_reflector.max_context_parts",
        "mag",
        "mobile_node",
    }
)


class Lma(Section, frozen=True, kw_only=True):
    """[lma]: the anchor itself. Names and defaults: RFC 5213 section 9.1."""

    address: IPv6Address
    scheme: SchemeName = "pmipv6"
    prefix_pools: tuple[IPv6Network, ...] = ()
    signalling_rate: PositiveInt = 2000
    signalling_burst: PositiveInt = 4000
    control_socket: Path = Path("/run/context-reflector/lmad.sock")
    journal: Path | None = None
    journal_inputs: bool = False
    metrics_address: IPv6Address | None = None
    metrics_port: Port = 9213
    state_directory: Path | None = None
    on_stop: OnStop = "remove"
    prefix_count: PrefixCount = 1
    max_bindings: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    max_sessions_per_mobile_node: Annotated[int, msgspec.Meta(ge=1)] = 8
    max_lifetime: BindingLifetime = 3600
    min_delay_before_bce_delete: Seconds = 10.0
    max_delay_before_new_bce_assign: Annotated[float, msgspec.Meta(ge=0)] = 1.5
    revoke_on_unknown_handoff: bool = True  # RFC 5846 section 8.1
    timestamp_validity_window: Seconds = 0.3
    timestamp_based_approach_in_use: bool = True  # section 9.3, as the next one: the same in a whole domain
    mobile_node_generated_timestamp_in_use: bool = False
    bri_max_retries_number: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1  # these three: RFC 5846 section 11
    init_min_delay_bris: Annotated[float, msgspec.Meta(ge=0.5)] = 1.0
    max_brack_timeout: Seconds = 2.0
    heartbeat_interval: HeartbeatInterval = 60.0  # these two: RFC 5847 section 5
    missing_heartbeats_allowed: MissingHeartbeats = 3


class ContextReflector(ContextLimits, frozen=True, kw_only=True):
    """[context_reflector]: what the paper leaves to the operator; sizes in octets."""

    downlink: Literal["hold", "forward"] = "hold"
    order: Literal["strict", "fast"] = "strict"
    context_lifetime: Annotated[float, msgspec.Meta(ge=0.1, le=6553.5)] = 10.0
    acknowledge: bool = False
    hold_packets: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1024
    hold_size: Annotated[int, msgspec.Meta(ge=1)] = 4 << 20
    hold_packets_in_all: Annotated[int, msgspec.Meta(ge=1)] = 1 << 20
    hold_size_in_all: Annotated[int, msgspec.Meta(ge=1)] = 4 << 30
    hold_mobile_nodes: Annotated[int, msgspec.Meta(ge=1, le=16384)] = 1024
    returned_packet_lifetime: Seconds = 10.0

    def __post_init__(self) -> None:
        for key, one, in_all in (
            ("hold_packets", self.hold_packets, self.hold_packets_in_all),
            ("hold_size", self.hold_size, self.hold_size_in_all),
        ):
            if one > in_all:
                raise ConfigError(f"{key} is more than {key}_in_all: nobody's packets could be held")


class Mag(Section, frozen=True, kw_only=True):
    """[[mag]]: a MAG that may register mobile nodes (RFC 5213 section 4).

    One with an `identity` may also end all of its sessions at once, under that MN-ID (RFC 5846 sections 8.2 and 13).
    """

    address: IPv6Address
    identity: NetworkAccessIdentifier | None = None


class MobileNode(Section, frozen=True, kw_only=True):
    """[[mobile_node]]: a subscriber.

    `prefixes` are its fixed home network prefixes, else a session gets `prefix_count` of the pools. `mags` are those
    that may register it; none: all.
    """

    mn_id: NetworkAccessIdentifier
    prefixes: Annotated[tuple[IPv6Network, ...], msgspec.Meta(max_length=MAX_HOME_NETWORK_PREFIXES)] = ()
    prefix_count: PrefixCount | None = None
    mags: tuple[IPv6Address, ...] = ()
    enabled: bool = True


class LmadConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    lma: Lma
    context_reflector: ContextReflector = ContextReflector()
    extension: Extension = Extension()
    mag: tuple[Mag, ...] = ()
    mobile_node: tuple[MobileNode, ...] = ()

    def __post_init__(self) -> None:
        check_on_stop(self.lma.on_stop, self.lma.state_directory)
        check_journal(self.lma.journal, self.lma.journal_inputs)
        for pool in self.lma.prefix_pools:
            if pool.prefixlen > HNP_LENGTH:
                raise ConfigError(f"prefix pool {pool} is too small: home network prefixes are /{HNP_LENGTH}")
        fixed = [prefix for node in self.mobile_node for prefix in node.prefixes]
        if any(prefix.prefixlen > HNP_LENGTH or prefix.prefixlen == 0 for prefix in fixed):
            raise ConfigError(f"a fixed prefix has 1 to {HNP_LENGTH} bits")
        if not self.lma.prefix_pools and not all(node.prefixes for node in self.mobile_node):
            raise ConfigError("lma.prefix_pools is empty but some mobile nodes have no prefixes of their own")
        only_once("MAG", [mag.address for mag in self.mag])
        only_once("mobile node", [node.mn_id for node in self.mobile_node])
        only_once("prefix", fixed)
        _disjoint("prefix pool", self.lma.prefix_pools)
        _disjoint("fixed prefix", fixed)
        # The pools know of their own prefixes only which are taken.
        wide = [prefix for prefix in fixed if prefix.prefixlen < HNP_LENGTH]
        for prefix in wide:
            if any(prefix.overlaps(pool) for pool in self.lma.prefix_pools):
                raise ConfigError(f"fixed prefix {prefix} overlaps with a prefix pool and is no /{HNP_LENGTH}")
        mags = {mag.address for mag in self.mag}
        for node in self.mobile_node:
            if unknown := [address for address in node.mags if address not in mags]:
                raise ConfigError(f"mobile node {node.mn_id} is for MAG {unknown[0]}, which is no [[mag]]")


def _disjoint(what: str, networks: Iterable[IPv6Network]) -> None:
    """Raise ConfigError when an address is in two of them."""
    for before, after in pairwise(sorted(networks)):
        if before.overlaps(after):
            raise ConfigError(f"{what} {after} overlaps with {before}")


def load_config(path: Path) -> LmadConfig:
    return load(path, LmadConfig)
