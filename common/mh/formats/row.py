"""A message as a row: the layout of its fixed part, what its fields mean, the options it may carry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.mh.layout import Layout
from common.mh.messages import Message
from common.mh.options import Option


@dataclass(frozen=True, slots=True)
class Format:
    """`to_fields` gives the varying fields of `layout`; of these `from_fields` makes attributes of the message.

    `from_fields` raises MalformedMessage for what is no such message.
    """

    message: type[Message]
    layout: Layout
    options: dict[int, Option]
    to_fields: Callable[[Any], tuple[int | bytes, ...]]
    from_fields: Callable[..., dict[str, Any]]
