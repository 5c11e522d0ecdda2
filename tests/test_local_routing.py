"""Two MNs of one gateway talk directly (RFC 5213 section 6.10.3, EnableMAGLocalRouting), while both are here."""

import pytest

from common.actions import Forwarding, ToAccess
from common.schemes import SCHEMES
from magd.config import Fpmipv6
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, mag_address, mag_config, utc
from tests.test_mag import MN, accepted, sent

PEERS = (mag_address(2), mag_address(3))


def registered(scheme: str, *, local_routing: bool) -> MobileAccessGateway:
    config = mag_config(
        1, neighbours=PEERS, fpmipv6=Fpmipv6(peers=PEERS), scheme=scheme, enable_mag_local_routing=local_routing
    )
    mag = MobileAccessGateway(config, utc)
    [pbu] = sent(mag.link_up("acc1", 0.0))
    mag.receive(LMAA, accepted(pbu), 0.01)
    return mag


def path(mag: MobileAccessGateway) -> Forwarding | None:
    entry = mag.binding_update_list.get(MN)
    return mag.sessions.forwarding(entry) if entry else None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_who_has_left_is_not_reached_directly_however_long_its_path_stays(scheme: str) -> None:
    mag = registered(scheme, local_routing=True)
    assert (here := path(mag)) is not None
    assert (here.direct, isinstance(here.downlink, ToAccess)) == (True, True)
    mag.link_down("acc1", 5.0)
    assert (gone := path(mag)) is not None
    assert not gone.direct
    mag.link_up("acc1", 5.1)
    assert (back := path(mag)) is None or back.direct


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nobody_is_where_that_is_not_configured(scheme: str) -> None:
    assert (here := path(registered(scheme, local_routing=False))) is not None
    assert not here.direct
