"""The lab that stays up, on a kernel that needs no virtual machine."""

import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from testbed.lab import interactive
from testbed.lab.node import LabError
from testbed.lab.visit import LABS, LabSpec, Visit
from tests.netns.system import eventually

pytestmark = pytest.mark.netns

NAME = f"test-{os.getpid()}"


def test_it_outlives_who_brought_it_up_and_is_moved_and_ended_by_others() -> None:
    interactive.start(NAME, asdict(LabSpec()), "native", print)
    try:
        visit = Visit(NAME)
        assert visit.alive()
        address = visit.wait_for_service("mn")
        interactive.find(NAME).move("mn", "mag2", 0.05)
        assert visit.wait_for_service("mn") == address
        with pytest.raises(LabError, match="is up already"):
            interactive.start(NAME, asdict(LabSpec()), "native", print)
        program = f"from testbed.lab import interactive; interactive.find({NAME!r}).shell('mn')"
        typed = subprocess.run(
            [sys.executable, "-c", program],
            input="ping -6 -c 1 -w 30 $CN\nexit 7\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert "1 received" in typed.stdout
        assert typed.returncode == 7
    finally:
        interactive.find(NAME).down()
    eventually(lambda: not (LABS / NAME).exists(), "the lab's directory is still there")
    with pytest.raises(LabError, match=f"there is no lab {NAME}"):
        interactive.find(NAME)
