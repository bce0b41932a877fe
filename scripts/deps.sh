#!/bin/sh
# Installs what building, running and testing skiff needs on Debian 12. With no argument: what `make up` needs;
# with "test": also what the tests talk to. Does nothing, quickly, when all of it is there.
set -eu
build="gcc make meson ninja-build pkg-config protobuf-c-compiler musl-tools libc6-dev libevent-dev libssl-dev libnghttp2-dev
 libyajl-dev libjansson-dev libprotobuf-c-dev libsqlite3-dev libmnl-dev libyaml-dev
 libwslay-dev zlib1g-dev libcurl4-openssl-dev libarchive-dev libcmocka-dev ccache"
run="crun runc ca-certificates curl"
test="clang clang-format libclang-rt-14-dev llvm-14 nftables conntrack iproute2 procps busybox-static socat jq openssl kubernetes-client
 python3 util-linux iputils-ping netcat-openbsd"
want="$build $run"
[ "${1-}" = test ] && want="$want $test"
missing=""
for p in $want; do
    # the machine's own kubectl is as good as Debian's
    [ "$p" = kubernetes-client ] && command -v kubectl >/dev/null && continue
    dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "skiff needs these packages; as root: apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
