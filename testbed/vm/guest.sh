#!/bin/bash
# First thing in the virtual machine: lay what must be in its memory (memory_image.py) over the host's directories, then
# be the agent. Arguments: the Python to run, the directory of its environment, the clock.
set -eu
python=$1 environment=$2 clock=$3

sysctl -qw kernel.printk=1 # what the kernel says while it boots is for the console; later it would take packets' time
modprobe virtio_blk
mkdir /run/memory
mount -t tmpfs -o size=75% memory /run/memory
tar -C /run/memory --warning=no-timestamp -xf /dev/vda # a virtual clock starts in the past
touch /run/memory/etc/ld.so.preload # every program looks for it: found empty here, not missed on the host
for directory in /usr /etc "$environment"; do
    mkdir -p "/run/memory/$directory" "/run/memory/upper/$directory" "/run/memory/work/$directory"
    layers="lowerdir=/run/memory$directory:$directory,upperdir=/run/memory/upper$directory"
    mount -t overlay -o "$layers,workdir=/run/memory/work$directory" memory "$directory"
done
# All nodes of the lab share one processor: what waits for it must not be dropped (between two ends of a veth pair, and in
# a receiver's socket, and all sockets together: 1 GiB), as it would not be if each node had its own.
sysctl -qw net.core.netdev_max_backlog=100000 net.core.rmem_default=8388608 net.core.rmem_max=8388608
sysctl -qw net.ipv4.udp_mem="262144 262144 262144"
# Nor must packets wait for a program of another node: what the kernel puts off for lack of time goes before them all, but
# not in the microseconds in which a gate is opened (gates.py: 3; the daemons have 1).
for pid in $(pgrep ksoftirqd); do chrt --fifo --pid 2 "$pid"; done
mount -t tmpfs memory /root # programs like to have a home
# The root directory itself in memory too: each use of one of its links (/lib, /lib64) would be a question to the host.
mount -t tmpfs memory /mnt
for entry in /*; do
    if [ -L "$entry" ]; then
        cp -P "$entry" /mnt/
    elif [ -d "$entry" ]; then
        mkdir "/mnt$entry"
        [ "$entry" = /mnt ] || mount --rbind "$entry" "/mnt$entry"
    fi
done
# A file that is opened, created or only looked for outside of memory holds its program up for as long as the host takes,
# which on a virtual clock may be seconds. A locale is such files, and so is all that is looked for in /tmp: iperf3 makes
# one there while its stream starts.
export HOME=/root TMPDIR=/root LC_ALL=C PYTHONUTF8=1 PYTHONHASHSEED=0 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
exec chroot /mnt "$python" -m testbed.vm.guest "$clock"
