"""The doctor's conclusions, and that its probes leave nothing behind."""

import subprocess

from testbed.doctor import Check, checks, render, usable

HAS = Check("native", "veth", True, "works")
LACKS = Check("native", "sch_netem", False, "Error: Specified qdisc kind is unknown.", "the virtual machine has it")
VM = Check("vm", "kernel image", True, "/boot/vmlinuz-6.1.0-1-amd64")
NO_VM = Check("vm", "kernel image", False, "there is no kernel", "make setup")
NO_KVM = Check("vm", "KVM", False, "there is no /dev/kvm", required=False)


def test_a_kernel_with_everything_runs_it_natively() -> None:
    assert usable([HAS, NO_VM])
    assert render([HAS, NO_VM]).splitlines()[-1].startswith("The lab runs natively")


def test_what_is_lacking_is_named_with_the_way_out() -> None:
    assert usable([HAS, LACKS, VM])
    text = render([HAS, LACKS, VM])
    assert (
        "  MISSING sch_netem: Error: Specified qdisc kind is unknown.\n            -> the virtual machine has it"
        in text
    )
    assert text.endswith("The lab runs in the virtual machine, because this kernel or system lacks: sch_netem.")


def test_what_only_makes_it_faster_decides_nothing() -> None:
    assert usable([LACKS, VM, NO_KVM])
    assert "  no      KVM: there is no /dev/kvm" in render([LACKS, VM, NO_KVM])


def test_neither_way_is_said_plainly() -> None:
    assert not usable([LACKS, NO_VM])
    assert render([LACKS, NO_VM]).splitlines()[-1].startswith("The lab cannot run: natively sch_netem lacking")


def test_trying_everything_leaves_nothing_behind() -> None:
    def links() -> str:
        command = ["sh", "-c", "ip -o link; ip netns list; nft list tables; tc qdisc show dev lo"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    before = links()
    results = checks()
    assert links() == before
    assert {check.where for check in results} == {"native", "vm"}
    assert all(check.why for check in results)
    assert all(check.remedy for check in results if not check.ok)
