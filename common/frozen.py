"""`replace` for frozen dataclasses with slots, in half the time of the one in `dataclasses`.

A handover at the anchor replaces ten values, and that one looks at every field's definition each time and calls an
`__init__` that goes round the class's own refusal to be changed, field by field.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

if TYPE_CHECKING:  # mypy checks the changes of the one in `dataclasses`, by its name
    from dataclasses import replace
else:
    from dataclasses import fields

    def replace(value: Any, /, **changes: Any) -> Any:
        """The value with these fields changed; TypeError for a field that it has not."""
        kind = type(value)
        copy = object.__new__(kind)
        for name, get, put in _members(kind):
            put(copy, changes.pop(name) if name in changes else get(value))
        if changes:
            raise TypeError(f"{kind.__name__} has no {', '.join(changes)}")
        return copy

    @cache
    def _members(kind: type) -> tuple[tuple[str, Any, Any], ...]:
        """Of each field its name, and how its slot is read and set."""
        if hasattr(kind, "__post_init__"):
            raise TypeError(f"{kind.__name__} checks itself when it is made")
        slots = ((field.name, getattr(kind, field.name)) for field in fields(kind))
        return tuple((name, slot.__get__, slot.__set__) for name, slot in slots)
