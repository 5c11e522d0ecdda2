"""Copies of all that a MAG puts on its access links, on a device of its own.

On a link that has just lost carrier the kernel drops what it still sends there, uncounted, and behind every place where
a capture could see it (`dev_deactivate` makes the queue a no-op before the routes have gone). It has left as far as the
MAG is concerned, and nobody hears it: lost on air, which is known of what is seen here and nowhere else.
"""

from collections.abc import Iterable

from testbed.lab.node import Node

COPIES = "copies"  # the device, and the table of nftables


def mirror(node: Node, access: Iterable[str]) -> None:
    """From now on what the node sends on its interfaces `access` leaves on `COPIES` too."""
    commands = (f"link add {COPIES} type dummy", f"link set {COPIES} addrgenmode none", f"link set {COPIES} up")
    node.run(["ip", "-batch", "-"], "\n".join(commands))
    devices = ", ".join(access)
    chain = f"chain out {{ type filter hook egress devices = {{ {devices} }} priority 0; dup to {COPIES}; }}"
    node.run(["nft", f"table netdev {COPIES} {{ {chain}; }}"])


def unmirror(node: Node) -> None:
    node.run(["nft", f"delete table netdev {COPIES}"])
    node.run(["ip", "link", "del", COPIES])
