"""The two nodes of the benchmarks that need a kernel: an LMA, and one with the addresses of the MAGs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.bench.core import LMAA, MAGS
from testbed.lab.node import Node, wait_until


@contextmanager
def two_nodes() -> Iterator[tuple[Node, Node]]:
    """A wire between them, and a device on the other side of each that takes what is sent, and counts it.

    The LMA's is inet0, where its default route leads, the MAG's is acc0.
    """
    lma, mag = Node("lma"), Node("mag")
    try:
        lma.run(["ip", "link", "add", "core0", "type", "veth", "peer", "core0", "netns", mag.path])
        _set_up(lma, "inet0", "fe80::1", [str(LMAA)])
        _set_up(mag, "acc0", "fe80::2", list(map(str, MAGS)))
        _batch(lma, *(f"route add {address} via fe80::2 dev core0 src {LMAA}" for address in MAGS))
        _batch(mag, f"route add {LMAA} via fe80::1 dev core0 src {MAGS[0]}")
        _batch(
            lma,
            "route add default via fe80::9 dev inet0",
            "neighbour add fe80::9 lladdr 02:00:00:00:00:09 dev inet0 nud permanent",
        )
        wait_until(lambda: "tentative" not in lma.run(["ip", "-6", "address"]), "addresses that can be used")
        for address in MAGS:
            lma.run(["ping", "-6", "-c", "1", "-w", "5", str(address)])
        yield lma, mag
    finally:
        lma.close()
        mag.close()


def _set_up(node: Node, device: str, link_local: str, addresses: list[str]) -> None:
    with node.inside():
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    _batch(
        node,
        f"link add {device} type dummy",
        *(f"link set {each} up" for each in ("lo", device, "core0")),
        *(f"address add {address}/128 dev lo" for address in addresses),
        f"address add {link_local}/64 dev core0 nodad",
    )


def _batch(node: Node, *commands: str) -> None:
    node.run(["ip", "-6", "-batch", "-"], "\n".join(commands))
