"""The packet filter: one nftables table per daemon, replaced whole at start, removed at the end, its drops counted.

Uplink is judged by the route back (`fib saddr . iif oif missing`): a packet may come only from where packets to its
source go. So no rule and no set element per mobile node exists, and a registration touches no nftables state.
"""

import json
from collections.abc import Iterable

import nftables

from common.errors import DataPlaneError


class Filter:
    """The table `name`; `devices` are patterns of the interfaces behind which mobile nodes are."""

    def __init__(self, name: str, reason: str) -> None:
        self._table = f"ip6 {name}"
        self._reason = reason
        self._nft = nftables.Nftables()

    def install(self, devices: Iterable[str]) -> None:
        names = ", ".join(f'"{device}"' for device in devices)
        rule = f"iifname {{ {names} }} fib saddr . iif oif missing counter name {self._reason} drop" if names else ""
        self._run(f"""
            add table {self._table}
            delete table {self._table}
            table {self._table} {{
                counter {self._reason} {{}}
                chain prerouting {{
                    type filter hook prerouting priority raw; policy accept;
                    {rule}
                }}
            }}""")

    def drops(self) -> dict[str, int]:
        """Packets dropped, by reason."""
        self._nft.set_json_output(True)
        try:
            listing = json.loads(self._run(f"list counters table {self._table}"))
        finally:
            self._nft.set_json_output(False)
        counters = (item["counter"] for item in listing["nftables"] if "counter" in item)
        return {counter["name"].replace("_", "-"): counter["packets"] for counter in counters}

    def remove(self) -> None:
        self._run(f"add table {self._table}; delete table {self._table}")

    def _run(self, commands: str) -> str:
        status, output, error = self._nft.cmd(commands)
        if status:
            raise DataPlaneError(f"nftables refused a rule: {' '.join(error.split())}")
        return str(output)
