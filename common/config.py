"""TOML files to typed configuration: unknown keys, wrong types and impossible values are one clear line each.

`lmad/config.py` and `magd/config.py` say what the files may hold; keys are the RFC's variable names in snake_case, in
seconds unless the name says otherwise.
"""

import tomllib
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec

from common.errors import ConfigError
from common.mh.code_points import DEFAULT, CodePoints

PositiveInt = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
BindingLifetime = Annotated[int, msgspec.Meta(ge=4, le=65535 * 4, multiple_of=4)]  # RFC 6275 6.1.7: units of 4 s
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
HeartbeatInterval = Annotated[float, msgspec.Meta(ge=1, le=3600)]  # RFC 5847 section 5: SHOULD NOT be below 30
MissingHeartbeats = Annotated[int, msgspec.Meta(ge=0)]

NetworkAccessIdentifier = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]  # an MN-ID as operators write it

OnStop = Literal["remove", "keep"]  # what becomes of what is in the kernel when the daemon is told to end

T = TypeVar("T")


class LinkLayerId(bytes):
    """A MAC address, written `02:00:00:00:00:01`."""

    LENGTH = 6

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        octets = text.split(":")
        if len(octets) != cls.LENGTH:
            raise ValueError(f"{text!r} is not a link-layer address like 02:00:00:00:00:01")
        return cls(int(octet, 16) for octet in octets)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; every key that is not a field is refused."""


class ContextLimits(Section, frozen=True, kw_only=True):
    """How large a context may be: octets of data in all, features, and messages that it comes in."""

    max_context_size: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 16384
    max_context_features: Annotated[int, msgspec.Meta(ge=1)] = 32
    max_context_parts: Annotated[int, msgspec.Meta(ge=1, le=255)] = 16


class Extension(Section, frozen=True, kw_only=True):
    """[extension]: the code points of Context Reflector, the same in a whole domain; see common/mh/code_points.py."""

    mh_type: int = DEFAULT.mh_type
    context_data_option: int = DEFAULT.context_data_option
    update_flag: int = DEFAULT.update_flag
    ack_flag: int = DEFAULT.ack_flag
    context_reflection: int = DEFAULT.context_reflection
    context_reflection_ack: int = DEFAULT.context_reflection_ack
    fast_pbu: int = DEFAULT.fast_pbu
    fast_pba: int = DEFAULT.fast_pba
    reverse_pbu: int = DEFAULT.reverse_pbu
    reverse_pba: int = DEFAULT.reverse_pba
    context_continuation: int = DEFAULT.context_continuation

    def __post_init__(self) -> None:
        self.code_points()

    def code_points(self) -> CodePoints:
        """Raises ValueError for what cannot be told apart."""
        return CodePoints(**msgspec.structs.asdict(self))


def load(path: Path, kind: type[T]) -> T:
    """Read `path` as a `kind`. Raises ConfigError with the file, the key and the reason in one line."""
    try:
        return parse(tomllib.loads(path.read_text()), kind)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(value: object, kind: type[T]) -> T:
    """What a TOML or JSON file holds as a `kind`. Raises ConfigError with the key and the reason in one line."""
    try:
        return msgspec.convert(value, kind, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("`$.", "`")) from error


def dump(value: msgspec.Struct) -> Any:
    """The reverse of `parse`."""
    return msgspec.to_builtins(
        value, enc_hook=lambda each: each.hex(":") if isinstance(each, LinkLayerId) else str(each)
    )


def _convert(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    if kind in (IPv6Address, IPv6Network):
        return kind(value)
    if kind is LinkLayerId:
        return LinkLayerId.parse(value)
    raise NotImplementedError(kind)


def check_on_stop(on_stop: OnStop, state_directory: Path | None) -> None:
    if on_stop == "keep" and state_directory is None:
        raise ConfigError('on_stop = "keep" needs a state_directory, or nobody would know what was kept')


def check_journal(journal: Path | None, inputs: bool) -> None:
    if inputs and journal is None:
        raise ConfigError("journal_inputs needs a journal")


def only_once(what: str, values: list[Any]) -> None:
    """Raise ConfigError when a value that must be unique is given twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise ConfigError(f"{what} {value} is given twice")
        seen.add(value)
