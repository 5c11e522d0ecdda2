"""Run the tests that need a kernel with everything (marker `netns`): here if it has, else in the virtual machine.

`python -m testbed.netns_tests [pytest's arguments]`; the exit status is pytest's. One machine for these tests, with the
real clock: some start processes that read from the host's disk, and for those a virtual clock races.
"""

import functools
import os
import sys

from testbed.doctor import native_ok
from testbed.vm.command import REPOSITORY
from testbed.vm.machine import GuestError, MachineError, write_through
from testbed.vm.qemu import VirtualMachine


def main() -> int:
    arguments = ["-m", "netns", *sys.argv[1:]]
    if native_ok():
        os.chdir(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])
    print("this kernel lacks what the tests need (testbed doctor): they run in the virtual machine", flush=True)
    try:
        with VirtualMachine("real", functools.partial(print, flush=True)) as machine:
            what = {"arguments": arguments, "directory": str(REPOSITORY)}
            return int(machine.call("testbed.vm.guest:run_pytest", what, output=functools.partial(write_through, 1)))
    except (GuestError, MachineError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
