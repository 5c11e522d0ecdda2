#!/bin/bash
# Build the Debian package: build/context-reflector_VERSION_ARCH.deb. Needs no root and no more than set-up has installed.
# The daemons, their control programs and their pinned dependencies lie in one directory of their own, run by Debian's
# Python; the laboratory is not part of it. The same sources give the same package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LC_ALL=C.UTF-8 TZ=UTC PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
umask 022

name=context-reflector
version=$(.venv/bin/python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
home=/usr/lib/$name
deb=build/${name}_${version}_$arch.deb

root=$(mktemp -d)
chmod 755 "$root"
trap 'rm -rf "$root" build/lib build/bdist.*' EXIT
put() { install -D -m "$1" "$2" "$root$3"; }
page() { .venv/bin/python -m testbed.package.manual "$1" | gzip -9n | install -D -m 644 /dev/stdin "$root/usr/share/man/man${1##*.}/$1.gz"; }

.venv/bin/python -m pip install --quiet --no-compile --constraint requirements.lock --target "$root$home" .
rm -rf "$root$home"/{bin,testbed}
find "$root$home" -name RECORD -o -name direct_url.json | xargs rm -f
# No daemon writes into /usr: bytecode comes along, and is good whatever the times of the files are.
/usr/bin/python3 -m compileall -q -s "$root" --invalidation-mode unchecked-hash "$root$home"

program() { # DIRECTORY NAME MODULE
    printf '#!/usr/bin/python3 -I\nimport sys\n\nsys.path.insert(0, "%s")\nfrom %s import main\n\nmain()\n' "$home" "$3" |
        install -D -m 755 /dev/stdin "$root/usr/$1/$2"
}
program sbin lmad lmad.__main__
program sbin magd magd.__main__
program bin lmactl lmad.ctl
program bin magctl magd.ctl

for daemon in lmad magd; do
    put 644 systemd/$daemon.service /lib/systemd/system/$daemon.service
    put 644 systemd/$daemon.toml /etc/$name/$daemon.toml
    page $daemon.8
    page $daemon.toml.5
done
page lmactl.8
page magctl.8
put 644 systemd/$name.sysusers /usr/lib/sysusers.d/$name.conf
put 644 testbed/context_reflector.lua /usr/share/$name/context_reflector.lua
put 644 testbed/package/copyright /usr/share/doc/$name/copyright
for document in README.md docs/*.md; do put 644 "$document" "/usr/share/doc/$name/$(basename "$document")"; done
gzip -9n <CHANGELOG.md | install -D -m 644 /dev/stdin "$root/usr/share/doc/$name/changelog.gz"

for script in preinst postinst prerm postrm; do
    if [ -f testbed/package/$script ]; then put 755 testbed/package/$script /DEBIAN/$script; fi
done
printf '/etc/%s/lmad.toml\n/etc/%s/magd.toml\n' $name $name | install -D -m 644 /dev/stdin "$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<END
Package: $name
Version: $version
Architecture: $arch
Maintainer: Context Reflector <context-reflector@localhost>
Installed-Size: $(du -sk --apparent-size "$root" | cut -f1)
Depends: python3 (>= 3.11), python3 (<< 3.12), python3-nftables, python3-systemd, systemd | systemd-standalone-sysusers
Recommends: iproute2, nftables, kmod
Section: net
Priority: optional
Description: Proxy Mobile IPv6 (RFC 5213) whose handovers lose nothing
 A mobile node that runs nothing special moves between access routers (magd)
 and keeps its address: routers and an anchor (lmad) hide the move from it.
 With the scheme Context Reflector the anchor keeps its packets in the kernel
 meanwhile and hands its context over to the new access router.
END
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -print0 | xargs -0 touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
mkdir -p build
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
echo "$deb"
