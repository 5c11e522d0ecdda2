"""The exceptions that cross module borders; everything else a core says is an action."""


class MalformedMessage(Exception):
    """A received octet string is not a message; `reason` is a short stable name that is logged and counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class UnknownMhType(MalformedMessage):
    """The MH type is not implemented here; RFC 6275 section 9.2 answers it with a Binding Error, status 2."""

    def __init__(self, mh_type: int) -> None:
        super().__init__("unknown-mh-type", str(mh_type))
        self.mh_type = mh_type


class DataPlaneError(Exception):
    """The kernel refused a change; the core hears of it and refuses the registration."""


class ConfigError(Exception):
    """The configuration cannot be used; the text is the one line that the operator reads."""


class StoreError(Exception):
    """State could not be stored; the daemon serves on, and tries again with the next change."""
