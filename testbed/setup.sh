#!/bin/bash
# Make this machine (Debian 12, amd64) ready for the lab and its tests: Debian packages, and a venv in .venv with this
# project and its pinned dependencies. Does nothing where nothing is missing. Needs root or sudo for the packages only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
    linux-image-amd64 qemu-system-x86 busybox-static file udev # the virtual machine
    iproute2 nftables kmod iputils-ping iperf3 tcpdump tshark procps
    python3 python3-venv python3-nftables python3-systemd ca-certificates
    systemd mandoc dpkg mmdebstrap e2fsprogs # the package: its units and pages checked, built, tried in a machine of its own
)
python=/usr/bin/python3 # Debian's: python3-nftables belongs to it, and another one may come first in PATH
stamp=.venv/set-up

# Nothing of the caller's Python may leak into ours.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step NAME REMEDY COMMAND...: run it quietly; if it fails, show what it said, which step it was and what to do.
step() {
    local name=$1 remedy=$2
    shift 2
    echo "set-up: $name ..."
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 25 "$log" >&2
        printf 'set-up failed: %s\n  what to do: %s\n' "$name" "$remedy" >&2
        exit 1
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo --preserve-env=DEBIAN_FRONTEND,LC_ALL "$@"
    fi
}

missing_packages() {
    local installed
    installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
    for package in "${packages[@]}"; do
        grep -qx "installed $package" <<<"$installed" || echo "$package"
    done
}

# What the venv was made from: if it changes, pip runs again. The directory is in it because a venv cannot be moved.
fingerprint() {
    { pwd -P && "$python" --version && cat pyproject.toml requirements.lock "${BASH_SOURCE[0]}"; } | sha256sum
}

command -v apt-get >/dev/null || {
    printf 'set-up failed: this is not Debian (there is no apt-get)\n  what to do: use Debian 12, or install by hand: %s\n' \
        "${packages[*]}" >&2
    exit 1
}

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            printf 'set-up failed: packages are missing and this is not root: %s\n  what to do: run as root, or install sudo\n' \
                "${missing[*]}" >&2
            exit 1
        }
        sudo -v || { echo "set-up failed: sudo refused; what to do: run as root" >&2 && exit 1; }
    fi
    step "reading the package lists" "check the network and /etc/apt/sources.list" \
        as_root apt-get -o DPkg::Lock::Timeout=300 update
    step "installing ${missing[*]}" "run: apt-get install ${missing[*]}" \
        as_root apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "${missing[@]}"
fi

if [ "$(cat "$stamp" 2>/dev/null || true)" != "$(fingerprint)" ]; then
    # One that was made elsewhere, by another Python or only half is made anew.
    if [ "$(.venv/bin/python -c 'import pip, sys; print(sys.prefix, sys.base_prefix)' 2>/dev/null || true)" != "$PWD/.venv /usr" ]; then
        step "making .venv with $python" "check that the disk is not full; remove .venv" \
            "$python" -m venv --clear --system-site-packages .venv
    fi
    step "installing this project and its pinned dependencies into .venv" \
        "check the network (pip config list shows the index); remove .venv to start afresh" \
        .venv/bin/python -m pip install --quiet --constraint requirements.lock --editable '.[lab,dev]'
    fingerprint >"$stamp"
    echo "set-up: done"
fi
