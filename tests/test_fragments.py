"""Fragments come in any order, and those of several packets at a time."""

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from testbed.measurement.fragments import Fragments


def fragments_of(payload: bytes, identification: int) -> list[bytes]:
    """As scapy cuts a packet for a link of 1,280 octets."""
    header = IPv6(src="2001:db8::1", dst="2001:db8::2", nh=44)
    packet = header / IPv6ExtHdrFragment(nh=135, id=identification) / Raw(payload)
    return [bytes(piece) for piece in fragment6(packet, 1280)]  # type: ignore[no-untyped-call]


@given(
    st.randoms(use_true_random=False), st.binary(min_size=1500, max_size=4000), st.binary(min_size=1500, max_size=4000)
)
def test_whole_packets_come_out(chance, first: bytes, second: bytes) -> None:  # type: ignore[no-untyped-def]
    pieces = fragments_of(first, 1) + fragments_of(second, 2)
    chance.shuffle(pieces)
    fragments = Fragments()
    wholes = [whole for t_ns, piece in enumerate(pieces) if (whole := fragments.add(t_ns, "here", piece))]
    assert {whole.payload for whole in wholes} == {first, second}
    assert all(whole.next_header == 135 and whole.began_ns < whole.done_ns for whole in wholes)
    assert sum(whole.octets for whole in wholes) == sum(map(len, pieces))
