"""lmactl: ask a running lmad."""

from common.command_line import control_command

SUBJECTS = ("bindings", "contexts", "holds", "mags", "counters", "configuration")

main = control_command("lmad", "LMACTL_SOCKET", "Ask a running local mobility anchor.", SUBJECTS)

if __name__ == "__main__":
    main()
