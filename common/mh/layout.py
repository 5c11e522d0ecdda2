"""scapy layers compiled: struct.Struct objects and padding tables, made once at import.

scapy takes 0.8 ms to build and dissect a PBU, ten times that under emulation, and a handover would wait for it. So the
layers are read here once: fields_desc gives the Struct, alignment_delta the padding, and nothing of the format is
written down twice.
"""

from struct import Struct
from typing import Any

from scapy.fields import Field, StrLenField, _BitField
from scapy.layers.inet6 import Pad1, PadN, _OptionsField, _PhantomAutoPadField
from scapy.packet import Packet

_CODE_BY_OCTETS = {1: "B", 2: "H", 4: "I", 8: "Q"}
PADDING = (b"", bytes(Pad1()), *(bytes(PadN(optdata=bytes(octets - 2))) for octets in range(2, 8)))


class Layout:
    """The fixed part of a layer. Messages and options alike begin with a constant octet and a length octet.

    `varying` names the fields whose values are given to `pack` and come from `unpack`, in the order of the layer. What
    else there is has its value in `constants` or keeps the layer's default, and is not looked at on receipt ("MUST be
    ignored by the receiver", or looked at before, as a type is).
    `size` is in octets. `tail` tells whether octets of any number follow, the last of the varying fields.
    """

    def __init__(self, layer: type[Packet], *varying: str, **constants: int) -> None:
        first, length, *others = _fixed_fields(layer)
        values, build, read = [], f"!{_code(first)}{_code(length)}", "!xx"
        found = []
        for field in others:
            code = _code(field)
            skip = "x" * Struct(f"!{code}").size
            if field.name in varying:
                found.append(field.name)
                build, read = build + code, read + code
            elif value := constants.get(field.name, field.default):
                if found:
                    raise TypeError(f"{layer.__name__}.{field.name}: a constant behind a varying field")
                values.append(value)
                build, read = build + code, read + skip
            else:
                build, read = build + skip, read + skip
        self.tail = isinstance(layer.fields_desc[-1], StrLenField)
        if self.tail:
            found.append(layer.fields_desc[-1].name)
        if tuple(found) != varying:
            raise TypeError(f"{layer.__name__} has {found}, not {varying}")
        self._pack = Struct(build).pack
        self.unpack = Struct(read).unpack_from  # (data, offset) -> the varying values of the fixed part
        self.first: int = constants.get(first.name, first.default or 0)
        self.size = Struct(build).size
        self._constants = tuple(values)

    def pack(self, length: int, *values: int | bytes) -> bytes:
        """The octets of the fixed part; struct.error when a value does not fit its field."""
        return self._pack(self.first, length, *self._constants, *values)


class OptionLayout(Layout):
    """A mobility option: type, length, data (RFC 6275 section 6.2.1), and the padding that goes in front of it."""

    def __init__(self, layer: type[Packet], *varying: str, **constants: int) -> None:
        super().__init__(layer, *varying, **constants)
        default = layer.fields_desc[1].default
        if not self.tail and default != self.size - 2:
            raise TypeError(f"{layer.__name__} says it has {default} octets of data and has {self.size - 2}")
        # No alignment asks for more than a multiple of 8, neither of the position nor of the size.
        tails: list[dict[str, Any]] = [{varying[-1]: bytes(size)} if self.tail else {} for size in range(8, 16)]
        samples = [layer(**tail) for tail in tails]
        self._padding: list[list[bytes]] = [
            [PADDING[option.alignment_delta(position)] for position in range(8)] for option in samples
        ]

    def build(self, position: int, values: tuple[Any, ...]) -> bytes:
        """Padding and option, to be placed `position` octets from the start of the message.

        A tail of more than one length octet can tell raises struct.error.
        """
        if self.tail:
            tail: bytes = values[-1]
            padding = self._padding[len(tail) % 8][position % 8]
            return padding + self.pack(self.size - 2 + len(tail), *values[:-1]) + tail
        return self._padding[0][position % 8] + self.pack(self.size - 2, *values)

    def read(self, data: bytes, start: int, end: int) -> tuple[Any, ...] | None:
        """The varying values of the option in data[start:end], None when it has not the length of its kind."""
        if self.tail:
            return (*self.unpack(data, start), data[start + self.size : end]) if end - start >= self.size else None
        return self.unpack(data, start) if end - start == self.size else None


def _fixed_fields(layer: type[Packet]) -> list[Field[Any, Any]]:
    variable = (StrLenField, _OptionsField, _PhantomAutoPadField)
    return [field for field in layer.fields_desc if isinstance(field, Field) and not isinstance(field, variable)]


def _code(field: Field[Any, Any]) -> str:
    """The struct code of a scapy field that takes whole octets."""
    if isinstance(field, _BitField):  # FlagsField too; its `fmt` means nothing
        if field.size % 8:
            raise TypeError(f"{field.name} does not end with an octet")
        return _CODE_BY_OCTETS[field.size // 8]
    code = field.fmt.removeprefix("!")
    if Struct(f"!{code}").size != field.sz:
        raise TypeError(f"{field.name} is not of fixed size")
    return code
