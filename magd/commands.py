"""What an operator may tell a running gateway: `magctl attach`, `detach`, `handover` and `expect`."""

from collections.abc import Callable, Sequence
from ipaddress import IPv6Address

from common.actions import Action
from common.control import CommandError, Handler
from common.mh.messages import MnId
from magd.binding_update_list import SERVED
from magd.config import MagdConfig
from magd.mag import MobileAccessGateway


def steering(
    config: MagdConfig,
    core: MobileAccessGateway,
    feed: Callable[[Sequence[Action]], None],
    clock: Callable[[], float],
) -> dict[str, Handler]:
    """The commands by name; what the core says to one is done by `feed`. Each raises CommandError."""
    mag = config.mag

    def attach(mn_id: str, interface: str | None, previous_mag: str | None = None) -> None:
        profile = core.profiles.of(MnId.nai(mn_id))
        where = interface or (profile.interface if profile else None)
        if where is None:
            raise CommandError(f"{mn_id} has no profile that names an interface: say which")
        if where not in mag.access_interfaces:
            raise CommandError(f"{where} is not among mag.access_interfaces")
        if profile is None:
            raise CommandError(f"{mn_id} has no policy profile here")
        previous = _address(previous_mag) if previous_mag else None
        feed(core.attached(MnId.nai(mn_id), where, clock(), previous))

    def expect(mn_id: str, previous_mag: str) -> None:
        if core.profiles.of(MnId.nai(mn_id)) is None:
            raise CommandError(f"{mn_id} has no policy profile here")
        feed(core.expected(MnId.nai(mn_id), _address(previous_mag)))

    def detach(mn_id: str) -> None:
        if not core.binding_update_list.of(MnId.nai(mn_id)):
            raise CommandError(f"{mn_id} is not attached")
        feed(core.detached(MnId.nai(mn_id), clock()))

    def handover(mn_id: str, nmag: str | None) -> None:
        address = _address(nmag) if nmag else None
        if not core.predictive:
            raise CommandError(f"scheme {mag.scheme} does nothing before an MN has left")
        if not any(entry.state in SERVED for entry in core.binding_update_list.of(MnId.nai(mn_id))):
            raise CommandError(f"{mn_id} is not served here")
        if not core.can_announce(MnId.nai(mn_id), address):
            raise CommandError(f"scheme {mag.scheme} needs to know where {mn_id} goes, and an LMA that speaks it")
        feed(core.handover(MnId.nai(mn_id), address, clock()))

    return {"attach": attach, "detach": detach, "handover": handover, "expect": expect}


def _address(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError as error:
        raise CommandError(f"not an IPv6 address: {error}") from error
