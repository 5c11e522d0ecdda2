"""Descriptors that outlive the daemon: the service manager keeps them open and gives them to the next start.

sd_notify(3) FDSTORE, sd_listen_fds(3). A kernel packet queue lives as long as its socket is open in some process, and
its packets with it. Without a service manager that keeps descriptors (`FileDescriptorStoreMax=` in a systemd unit)
there is nobody to do this, and what waits ends with the daemon.
"""

import array
import logging
import os
import socket
from collections.abc import Mapping

FIRST = 3  # SD_LISTEN_FDS_START

log = logging.getLogger(__name__)


def inherited() -> dict[str, int]:
    """By name, what an earlier life gave away; asked once, as the names are then taken from the environment."""
    pid, count, names = (os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if not pid.isdigit() or int(pid) != os.getpid():
        return {}
    found: dict[str, int] = {}
    for descriptor, name in zip(range(FIRST, FIRST + int(count or 0)), names.split(":"), strict=False):
        os.set_inheritable(descriptor, False)
        if name in found:
            os.close(descriptor)
        else:
            found[name] = descriptor
    return found


def give(descriptors: Mapping[str, int]) -> None:
    """Have them kept. FDPOLL=0: an error on a netlink socket is no reason to let go of it."""
    for name, descriptor in descriptors.items():
        notify(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", descriptor)


def take_back(names: Mapping[str, int]) -> None:
    """Have them kept no longer."""
    for name in names:
        notify(f"FDSTOREREMOVE=1\nFDNAME={name}")


def notify(state: str, *descriptors: int) -> None:
    """Tell the service manager (sd_notify(3)); without one there is nobody to tell."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            to = address.replace("@", "\0", 1) if address.startswith("@") else address
            try:
                manager.sendmsg([state.encode()], rights, 0, to)
            except OSError as error:  # it has gone or is being restarted: no reason to end without order
                log.warning("%s is not told %s: %s", address, state, error.strerror)
