"""The raw socket for next header 135. Linux fills in and verifies the checksum itself (`rawv6_init_sk`, offset 4)."""

import socket
from ipaddress import IPv6Address

from common.errors import ConfigError

IPPROTO_MH = 135
RECEIVE_BUFFER = 4 << 20  # octets: a burst of a few thousand messages


def open_mh_socket(local: IPv6Address) -> socket.socket:
    """Non-blocking, bound to the address that is both LMAA or Proxy-CoA and the tunnels' end."""
    mh = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, IPPROTO_MH)
    mh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    try:
        mh.bind((str(local), 0))
    except OSError as error:
        mh.close()
        raise ConfigError(f"address {local} is not on any interface of this node: {error.strerror}") from error
    return mh
