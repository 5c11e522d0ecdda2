"""What `make lab` shows: the same handovers under plain PMIPv6 and under Context Reflector, side by side."""

import click

from testbed.backend import open_backend
from testbed.console import one_clear_line, progress_on_stderr
from testbed.measurement import summary

SCHEMES = ("pmipv6", "context-reflector")
HANDOVERS = 5


@click.command()
def main() -> None:
    """Hand one mobile node over under each scheme, in one virtual machine or natively."""
    progress = progress_on_stderr()
    results = []
    with one_clear_line(), open_backend(None, None, progress) as backend:
        for scheme in SCHEMES:
            progress(f"scheme {scheme}")
            results.append(backend.run({"scheme": scheme, "count": HANDOVERS}, progress))
    for result in results:
        click.echo(summary.render(result) + "\n")
    click.echo(summary.compare(results))


if __name__ == "__main__":
    main()
