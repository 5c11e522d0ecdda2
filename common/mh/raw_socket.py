"""The raw socket for next header 135. Linux fills in and verifies the checksum itself (`rawv6_init_sk`, offset 4).

A message may have waited in the socket: while the daemon was starting, or behind many others. What it says of time is
judged by when it came (RFC 5213 section 5.5), so the kernel notes that.
"""

import socket
import time
from ipaddress import IPv6Address
from struct import Struct

from common.errors import ConfigError

IPPROTO_MH = 135
SO_TIMESTAMPNS = 35
MAX_AGE = 60.0  # seconds; more is a clock that was set meanwhile
_TIMESPEC = Struct("@qq")
RECEIVE_BUFFER = 4 << 20  # octets: a burst of a few thousand messages


def open_mh_socket(local: IPv6Address) -> socket.socket:
    """Non-blocking, bound to the address that is both LMAA or Proxy-CoA and the tunnels' end."""
    mh = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, IPPROTO_MH)
    mh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    mh.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        mh.bind((str(local), 0))
    except OSError as error:
        mh.close()
        raise ConfigError(f"address {local} is not on any interface of this node: {error.strerror}") from error
    return mh


def receive(mh: socket.socket) -> tuple[bytes, IPv6Address, float]:
    """A message, who sent it, and the moment by time.monotonic() when it came. Raises OSError."""
    data, ancillary, _, address = mh.recvmsg(65535, socket.CMSG_SPACE(_TIMESPEC.size))
    age = 0.0
    for _, _, stamp in ancillary:
        seconds, nanoseconds = _TIMESPEC.unpack(stamp)
        age = time.time() - seconds - nanoseconds / 1e9
    return data, IPv6Address(address[0]), time.monotonic() - min(max(age, 0.0), MAX_AGE)
