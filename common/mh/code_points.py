"""The numbers of the extension, all of them: experimental ones (RFC 5096) and flags that nobody has assigned.

A domain where one of them is taken already sets others, the same in its LMA and MAGs, with `codec.use`. What programs
see stays the same: `UpdateFlag.CONTEXT` is the context flag, whatever its bit on the wire.
Feature Profile Types are `messages.Feature`: they are of this protocol alone and clash with nothing.
"""

from dataclasses import dataclass, fields

_FIRST_UNASSIGNED_MH_TYPE = 24  # IANA "Mobility Parameters", Mobility Header Types
_FIRST_UNASSIGNED_OPTION = 71  # and Mobility Options
_EXPERIMENTAL_MH_TYPE, _EXPERIMENTAL_OPTION = 11, 18  # RFC 5096


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePoints:
    """What the messages of Context Reflector are recognised by. Raises ValueError for what cannot be told apart.

    `update_flag` is one of the 16 bits of a PBU's flags, `ack_flag` one of the 8 of a PBA's. The others are octets; the
    last seven are subtypes, the first octet behind the header of an MH of type `mh_type`.
    """

    mh_type: int = _EXPERIMENTAL_MH_TYPE
    context_data_option: int = _EXPERIMENTAL_OPTION
    update_flag: int = 0x0008
    ack_flag: int = 0x01
    context_reflection: int = 1
    context_reflection_ack: int = 2
    fast_pbu: int = 3
    fast_pba: int = 4
    reverse_pbu: int = 5
    reverse_pba: int = 6
    context_continuation: int = 7

    def __post_init__(self) -> None:
        _check_number("mh_type", self.mh_type, _EXPERIMENTAL_MH_TYPE, _FIRST_UNASSIGNED_MH_TYPE)
        _check_number("context_data_option", self.context_data_option, _EXPERIMENTAL_OPTION, _FIRST_UNASSIGNED_OPTION)
        # A and P of an update, P of an acknowledgement make a message the one it is.
        _check_flag("update_flag", self.update_flag, [1 << bit for bit in range(16)], [0x8000, 0x0200])
        _check_flag("ack_flag", self.ack_flag, [1 << bit for bit in range(8)], [0x20])
        taken: dict[int, str] = {}
        for name in SUBTYPES:
            number = getattr(self, name)
            if not 0 <= number <= 255:
                raise ValueError(f"{name} {number} is not an octet")
            if number in taken:
                raise ValueError(f"{name} {number} is {taken[number]} already")
            taken[number] = name


SUBTYPES = tuple(field.name for field in fields(CodePoints))[4:]


def _check_number(name: str, number: int, experimental: int, first_unassigned: int) -> None:
    if number != experimental and not first_unassigned <= number <= 255:
        raise ValueError(
            f"{name} {number} is neither experimental ({experimental}) nor unassigned ({first_unassigned} to 255)"
        )


def _check_flag(name: str, bit: int, bits: list[int], needed: list[int]) -> None:
    if bit not in bits:
        raise ValueError(f"{name} {bit:#x} is not one bit of {len(bits)}")
    if bit in needed:
        raise ValueError(f"{name} {bit:#x} is a flag of RFC 5213 already")


DEFAULT = CodePoints()
