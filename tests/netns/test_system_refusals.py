"""Who is refused and how: unknown MNs, MAGs without authority, octets that are no message."""

import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from common.errors import MalformedMessage
from common.mh.codec import decode, encode
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingError,
    HandoffIndicator,
    MnId,
    ProxyBindingUpdate,
)
from common.mh.raw_socket import IPPROTO_MH
from testbed.lab.topology import LMAA
from testbed.lab.visit import LabSpec
from tests.netns.system import IPV6_HEADER, SystemLab, eventually, raw, solicit, stranger

pytestmark = pytest.mark.netns

# Of an MN that nobody knows: what happens to stay whole is judged and refused like any other.
REQUEST = ProxyBindingUpdate(
    sequence=1,
    lifetime=3600,
    mn_id=MnId.nai("nobody@example.net"),
    hnps=(ALL_ZERO_PREFIX,),
    handoff_indicator=HandoffIndicator.UNKNOWN,
    access_technology=AccessTechnologyType.IEEE_802_11,
)
ICMPV6, PARAMETER_PROBLEM = 58, 4
KNOWN = '[[mobile_node]]\nmn_id = "mn1@example.net"\n'


@contextmanager
def attached_in_vain(lab: SystemLab) -> Iterator[None]:
    """mn1 is on the link of mag1 and asks for a router; mn2, which is at mag2, keeps its service throughout."""
    lab.settle("mn2", "mag2")
    lab.air_only("mn1", "mag1")
    solicit(lab.nodes["mn1"])
    yield
    assert lab.address("mn1") is None
    lab.wait_for_service("mn2")


def test_an_mn_without_a_profile_gets_no_service_from_its_mag() -> None:
    profile = '[[mobile_node]]\nmn_id = "mn1@example.net"\nll_id = "02:00:00:00:00:01"\ninterface = "acc-mn1"\n'
    with SystemLab(LabSpec(mns=2), {"mag1": [(profile, "")]}) as lab, attached_in_vain(lab):
        eventually(lambda: lab.counters("mag1")["unknown-mobile-node"], "mag1 has not noticed the stranger")
        assert lab.states("mag1") == {}
        assert lab.counters("mag1")["sent-PBU"] == 0
        assert "mn1@example.net" not in lab.serving()


@pytest.mark.parametrize(
    ("missing", "status", "reason"),
    [
        (KNOWN, 153, "refused-not-lma-for-this-mobile-node"),
        ('[[mag]]\naddress = "2001:db8:0:1::1"\n', 154, "refused-mag-not-authorized-for-proxy-reg"),
    ],
)
def test_the_lma_refuses_with_the_status_of_the_rfc(missing: str, status: int, reason: str) -> None:
    with SystemLab(LabSpec(mns=2), {"lma": [(missing, "")]}) as lab, attached_in_vain(lab):
        eventually(lambda: lab.states("mag1") == {"mn1@example.net": "refused"}, "mag1 knows of no refusal")
        assert lab.counters("mag1")[f"pbu-refused-{status}"] == 1
        assert lab.counters("lma")[reason] >= 1  # more if the answer took long
        assert "mn1@example.net" not in lab.serving()
        assert "2001:db8:1" not in lab.nodes["mag1"].run(["ip", "-6", "route", "show", "proto", "214"])


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    with SystemLab() as up:
        up.settle("mn", "mag1")
        yield up


def octets_of_all_kinds() -> list[bytes]:
    """Random octets, and a good message cut short, lengthened and bent.

    All of them pass the checks that a kernel with Mobile IPv6 makes itself (net/ipv6/mip6.c): see the next test.
    """
    chance = random.Random(5213)
    good = encode(REQUEST)
    noise = [chance.randbytes(8 * chance.randrange(1, 25)) for _ in range(60)]
    cut = [good[:length] for length in range(16, len(good), 8)]
    longer = [good + bytes(8), good + b"\0"]
    bent = []
    for _ in range(100):
        message = bytearray(good)
        message[chance.choice([2, *range(6, len(good))])] = chance.randrange(256)
        bent.append(bytes(message))
    whole = [bytes([59, len(data) // 8 - 1]) + data[2:] for data in (*noise, *cut, *bent)]
    # Types 1 to 4 have lengths of their own, which the kernel knows.
    return [*(data for data in whole if data[2] not in range(1, 5)), *longer]


def name_of(data: bytes) -> str | None:
    """The counter that `data` belongs to; None for a message."""
    try:
        decode(data)
    except MalformedMessage as error:
        return error.reason if error.reason == "unknown-mh-type" else f"malformed-{error.reason}"
    return None


@pytest.mark.parametrize(("sender", "receiver"), [("mag2", "lma"), ("lma", "mag2")])
def test_what_is_no_message_is_counted_by_its_reason_and_hurts_nobody(
    lab: SystemLab, sender: str, receiver: str
) -> None:
    sent = octets_of_all_kinds()
    expected = Counter(name for data in sent if (name := name_of(data)))
    assert len(expected) >= 5  # many kinds of wrong
    before = lab.counters(receiver)
    with raw(lab.nodes[sender], IPPROTO_MH, lab.topology.addresses[sender]) as signalling:
        for data in sent:
            signalling.sendto(data, (str(lab.topology.addresses[receiver]), 0))

    def counted() -> Counter[str]:
        now = lab.counters(receiver)
        return Counter({name: now[name] - before[name] for name in expected})

    eventually(lambda: counted() == expected, f"{counted()} instead of {expected}")
    lab.require_daemons()
    for mag in ("mag2", "mag1"):
        lab.settle("mn", mag)


@pytest.mark.parametrize(
    ("octets", "pointer"),
    [
        (bytes([58]) + encode(REQUEST)[1:], 0),  # Payload Proto is not "none"
        (bytes([59, 0]) + encode(REQUEST)[2:8], 1),  # too short for what the type has
    ],
)
def test_a_wrong_header_is_answered_with_a_parameter_problem(lab: SystemLab, octets: bytes, pointer: int) -> None:
    """RFC 6275 section 9.2."""
    ours, lma = lab.topology.addresses["mag1"], str(LMAA)
    with raw(lab.nodes["mag1"], IPPROTO_MH, ours) as signalling, raw(lab.nodes["mag1"], ICMPV6, ours) as ears:
        signalling.sendto(octets, (lma, 0))
        answer = b""
        while answer[:1] != bytes([PARAMETER_PROBLEM]):
            answer = ears.recv(2048)
    assert answer[1] == 0  # erroneous header field
    assert struct.unpack_from("!I", answer, 4)[0] == IPV6_HEADER + pointer


def test_an_unknown_mh_type_is_answered_with_a_binding_error(lab: SystemLab) -> None:
    """RFC 6275 section 9.2; sent with a checksum that the kernel puts in, as it would not take one without."""
    for asking, asked in (("mag1", "lma"), ("lma", "mag1")):
        with ExitStack() as stack:
            ears = stack.enter_context(raw(lab.nodes[asking], IPPROTO_MH, lab.topology.addresses[asking]))
            target = str(lab.topology.addresses[asked])
            ears.sendto(bytes([59, 0, 222, 0, 0, 0, 0, 0]), (target, 0))
            assert error_from(ears, target) == BindingError(status=2)
    # Nobody answers a Binding Error with a Binding Error.
    eventually(lambda: lab.counters("mag1")["unexpected-BE"], "mag1 has not heard the error")
    eventually(lambda: lab.counters("lma")["unexpected-BE"], "the LMA has not heard the error")


def error_from(ears: socket.socket, sender: str) -> BindingError:
    """The first from there; signalling goes on meanwhile."""
    while True:
        data, (source, *_) = ears.recvfrom(2048)
        if source == sender and isinstance(message := decode(data), BindingError):
            return message


def test_the_lma_listens_to_its_own_mags_only(lab: SystemLab) -> None:
    before = lab.counters("lma")["unauthorized-source"]
    with stranger(lab) as node, raw(node, IPPROTO_MH) as signalling:
        signalling.sendto(encode(BindingError(status=2)), (str(LMAA), 0))
        eventually(lambda: lab.counters("lma")["unauthorized-source"] == before + 1, "the LMA has not counted it")
