#!/bin/sh
# Images against real and misbehaving registries, the docker client, CRI, a full disk and kill -9.
#   TOOL=image-tool WORKER=skiff-worker IMAGES=directory of scripts/images.sh
# Exits 77 with the reason when the machine cannot do it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${TOOL:?}" "${WORKER:?}"
skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
command -v python3 >/dev/null || skip "needs python3"
command -v curl >/dev/null || skip "needs curl"
export SKIFF_WORKER="$WORKER"
top=$(mktemp -d /tmp/skiff-image.XXXXXX)
pids=
failed=0 passed=0
cleanup() {
    for p in $pids; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null; done
    grep " $top/" /proc/self/mountinfo | awk '{print $5}' | sort -r | while read -r m; do umount -l "$m"; done
    rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

say() { # what, condition's exit code
    if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAIL: $1" && tail -3 "$top/out" 2>/dev/null; fi
}
run() { "$TOOL" image "$@" --offline --data-root "$root" >"$top/out" 2>&1; }
ok() { what=$1 && shift && run "$@"; say "$what" $?; }
fails_with() { # what, text, arguments
    what=$1 text=$2 && shift 2
    if run "$@"; then say "$what (succeeded)" 1; else grep -qF "$text" "$top/out"; say "$what" $?; fi
}
# nothing half-made: every layer directory has its record, no work is left, every image is whole
clean_root() {
    for i in 1 2 3 4 5 6 7 8 9 10; do
        [ -z "$(ls "$root/tmp" "$root/trash" 2>/dev/null | grep -v :$ | grep -v '^$')" ] && break
        "$TOOL" image ls --offline --data-root "$root" >/dev/null 2>&1 && sleep 0.1
    done
    for d in "$root"/layers/*; do
        case $d in */empty) ;; *) [ -f "$d/layer.json" ] || { say "$1: $d has no record" 1; return; } ;; esac
    done
    [ -z "$(ls "$root/tmp" "$root/trash" | grep -v :$ | grep -v '^$')" ]
    say "$1: leftovers in tmp or trash" $?
}
layer_count() { ls "$root/layers" | grep -vc empty; }

IMAGES=${IMAGES:-$top/images}
if ! [ -f "$IMAGES/nginx.tar" ]; then
    IMAGES_DIR=$IMAGES "$here/../../scripts/images.sh" --no-load >"$top/out" 2>&1 || skip "the images cannot be assembled: $(tail -1 "$top/out")"
fi
"$here/image_registry.py" "$IMAGES/nginx.tar" "$top/port" "$top/requests" 2>"$top/registry.log" &
pids="$pids $!"
for i in $(seq 100); do [ -f "$top/port" ] && break; sleep 0.05; done
reg=127.0.0.1:$(cat "$top/port")

# ---- pull ----
root=$top/a
ok "pull" pull "$reg/plain:v1"
[ "$(layer_count)" = 3 ]
say "three layers" $?
clean_root "after a pull"
ok "pull by digest" pull "$reg/plain@$(sed 's/.*"digests":\["[^@]*@\([^"]*\)".*/\1/' "$root"/images/*.json)"
fails_with "tag that does not exist" "$reg/plain:missing: not found" pull "$reg/plain:missing"
fails_with "nobody listens" "failed to do request" pull 127.0.0.1:1/x
fails_with "no such host" "failed to do request" pull no-such-host.invalid/x
fails_with "bad name" "invalid reference format" pull "UPPER"
root=$top/b
ok "broken downloads are resumed" pull "$reg/cut:v1"
grep -q "/v2/cut/blobs/.* bytes=" "$top/requests"
say "by asking for the rest" $?
clean_root "after resuming"
diff -r "$top/a/layers" "$top/b/layers" >"$top/out" 2>&1
say "the same bytes as without a break" $?
for kind in norange five token index; do
    root=$top/$kind
    ok "pull: $kind" pull "$reg/$kind:v1"
done
for row in "badblob:digest mismatch" "short:transfer closed" "long:more bytes come" "wrongrange:another range" "denied:pull access denied" \
    "basic:pull access denied" "otherarch:no match for platform" "badmanifest:manifest digest mismatch" "junk:manifest"; do
    root=$top/bad
    fails_with "pull: ${row%%:*}" "${row#*:}" pull "$reg/${row%%:*}:v1"
    clean_root "after ${row%%:*}"
    ls "$root"/images/*.json >/dev/null 2>&1
    [ $? != 0 ]
    say "no image after ${row%%:*}" $?
done

# ---- a stock registry server ----
stock=$(command -v docker-registry || true)
if [ -z "$stock" ] && ls "$IMAGES"/debs/docker-registry_*.deb >/dev/null 2>&1; then
    dpkg-deb -x "$IMAGES"/debs/docker-registry_*.deb "$top/stock" && stock=$top/stock/usr/bin/docker-registry
fi
if [ -n "$stock" ]; then
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf 'version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: 127.0.0.1:%s}\n' "$top/stored" "$port" >"$top/stock.yml"
    "$stock" serve "$top/stock.yml" >"$top/stock.log" 2>&1 &
    pids="$pids $!"
    for i in $(seq 100); do curl -sf "http://127.0.0.1:$port/v2/" >/dev/null && break; sleep 0.05; done
    "$here/image_push.py" "$IMAGES/nginx.tar" "127.0.0.1:$port" it/nginx v1 >"$top/out" 2>&1
    say "push to a stock registry" $?
    root=$top/stocked
    ok "pull from a stock registry" pull "127.0.0.1:$port/it/nginx:v1"
    diff -r "$top/a/layers" "$root/layers" >"$top/out" 2>&1
    say "the same layers" $?
    fails_with "tag that the stock registry does not have" ":v2: not found" pull "127.0.0.1:$port/it/nginx:v2"
    fails_with "repository that the stock registry does not have" "it/none:latest: not found" pull "127.0.0.1:$port/it/none"
fi

# ---- mounts ----
root=$top/a
"$TOOL" mount "$root" "$reg/plain:v1" "$top/rw" "$top/mnt" && grep -q "Welcome to nginx" "$top/mnt/usr/share/nginx/html/index.html" &&
    [ "$(stat -c %a "$top/mnt/tmp")" = 1777 ] && echo new >"$top/mnt/file" && [ "$(cat "$top/rw/upper/file")" = new ]
say "mount" $?
"$TOOL" mount "$root" "$reg/plain:v1" "$top/rw" "$top/mnt" && [ "$(grep -c " $top/mnt " /proc/self/mountinfo)" = 1 ]
say "mounting twice is one mount" $?
"$TOOL" sweep "$top" && ! grep -q " $top/mnt " /proc/self/mountinfo
say "sweep" $?
"$TOOL" mount "$root" "$reg/plain:v1" - "$top/mnt" && ! touch "$top/mnt/x" 2>/dev/null && "$TOOL" unmount "$top/mnt" && "$TOOL" unmount "$top/mnt"
say "read-only mount, unmounting twice" $?

# ---- archives: whiteouts through a mount, many layers, damage ----
python3 "$here/image_archives.py" "$top/arch" || exit 1
root=$top/w
ok "docker-archive of 130 layers, gzip outside" load "$top/arch/many.tar.gz"
"$TOOL" mount "$root" many:latest "$top/rw2" "$top/mnt2" && [ "$(ls "$top/mnt2/layers" | wc -l)" = 130 ] && "$TOOL" unmount "$top/mnt2"
say "130 layers mount" $?
ok "whiteouts" load "$top/arch/whiteout.tar"
"$TOOL" mount "$root" whiteout "$top/rw3" "$top/mnt3" && [ ! -e "$top/mnt3/gone" ] && [ ! -e "$top/mnt3/dir/old" ] && [ -e "$top/mnt3/dir/new" ] &&
    [ "$(stat -c %a "$top/mnt3/sticky")" = 1777 ] && [ -e "$top/mnt3/sticky/file" ] && [ "$(stat -c %u "$top/mnt3/sticky")" = 42 ] && "$TOOL" unmount "$top/mnt3"
say "whiteouts and directories without an entry, as mounted" $?
fails_with "layer that climbs" "outside of the layer" load "$top/arch/climb.tar"
fails_with "layer whose content differs" "content mismatch" load "$top/arch/mismatch.tar"
fails_with "archive cut off" "image archive" load "$top/arch/cut.tar"
fails_with "member missing" "missing" load "$top/arch/missing.tar"
fails_with "no image archive" "neither manifest.json" load "$top/arch/other.tar"
fails_with "no archive at all" "not an image archive" load /etc/passwd
ok "from a pipe" load - <"$IMAGES/busybox.tar"
clean_root "after archives"
[ ! -e /skiff-image-escaped ]
say "nothing escaped" $?

# ---- full disk ----
root=$top/small
mkdir "$root" && mount -t tmpfs -o size=6m tmpfs "$root"
fails_with "disk full" "No space left" load "$IMAGES/nginx.tar"
clean_root "after a full disk"
[ "$(layer_count)" -le 2 ] && ! ls "$root"/images/*.json >/dev/null 2>&1
say "no image after a full disk" $?
umount "$root"

# ---- kill -9 of the worker, and of the engine ----
root=$top/kill
mkfifo "$top/fifo"
"$TOOL" image load - --offline --data-root "$root" <"$top/fifo" >"$top/killed" 2>&1 &
load=$!
exec 9>"$top/fifo"
head -c 3000000 "$IMAGES/nginx.tar" >&9
for i in $(seq 50); do worker=$(pgrep -P "$load" -f 'skiff-worker run') && break; sleep 0.05; done
kill -9 "$worker"
exec 9>&-
wait "$load"
[ $? = 1 ] && grep -q "ended early (killed by SIGKILL)" "$top/killed"
say "kill -9 of the worker is an error" $?
clean_root "after kill -9 of the worker"
"$TOOL" image pull --offline --data-root "$root" "$reg/stall:v1" >"$top/killed" 2>&1 &
load=$!
for i in $(seq 100); do worker=$(pgrep -P "$load" -f 'skiff-worker run') && [ "$(pgrep -P "$worker" | wc -l)" -ge 3 ] && break; sleep 0.05; done
children=$(pgrep -P "$worker")
kill -9 "$load"
wait "$load" 2>/dev/null
for i in $(seq 50); do
    alive=0
    for p in $worker $children; do kill -0 "$p" 2>/dev/null && alive=1; done
    [ "$alive" = 0 ] && break
    sleep 0.05
done
[ "$alive" = 0 ]
say "workers die with the engine" $?
[ "$(layer_count)" = 0 ]
say "nothing half-visible" $?
ok "and the next pull works" pull "$reg/plain:v1"
clean_root "after kill -9 of the engine"

# ---- the faces ----
root=$top/serve
"$TOOL" serve "$root" "$top/docker.sock" "$top/cri.sock" >"$top/served" 2>&1 &
server=$!
pids="$pids $server"
for i in $(seq 100); do [ -S "$top/cri.sock" ] && break; sleep 0.05; done
cri() { "$TOOL" cri "$top/cri.sock" "$@" >"$top/out" 2>&1; }
for i in 1 2 3 4; do "$TOOL" cri "$top/cri.sock" pull "$reg/plain:v1" >"$top/pull$i" 2>&1 & eval "p$i=$!"; done
"$TOOL" cri "$top/cri.sock" pull "$reg/index:v1" >"$top/pull5" 2>&1
say "CRI pull" $?
# shellcheck disable=SC2154
wait "$p1" && wait "$p2" && wait "$p3" && wait "$p4" && [ "$(cat "$top"/pull[1-5] | sort -u | wc -l)" = 1 ]
say "five pulls at once, one image" $?
[ "$(ls "$root/layers" | grep -vc empty)" = 3 ]
say "and three layers" $?
cri status "$reg/plain:v1" && grep -q "@sha256:.* size=[1-9]" "$top/out"
say "CRI status" $?
cri status nope && grep -q "no image" "$top/out"
say "CRI status of none" $?
! cri pull "$reg/plain:missing" && grep -q "^NotFound: .*not found" "$top/out"
say "CRI pull of none" $?
cri fs && bytes=$(sed 's/.*bytes=\([0-9]*\).*/\1/' "$top/out") && disk=$(du -s --block-size=1 "$root/layers" | cut -f1) &&
    [ "$bytes" -gt $((disk - 200000)) ] && [ "$bytes" -le "$disk" ]
say "CRI usage adds up to du" $?
code=$(curl -s -o "$top/out" -w '%{http_code}' --unix-socket "$top/docker.sock" -X POST \
    -H "X-Registry-Auth: $(printf '{"username":"user","password":"secret"}' | base64)" "http://d/v1.43/images/create?fromImage=$reg/basic&tag=v1")
[ "$code" = 200 ] && grep -q "Status: .* for $reg/basic:v1" "$top/out" && ! grep -q '"error"' "$top/out"
say "docker pull with credentials" $?
timeout 1 curl -sN -o "$top/out" -X POST --unix-socket "$top/docker.sock" "http://d/v1.43/images/create?fromImage=$reg/stall&tag=v1"
for i in $(seq 50); do pgrep -P "$server" >/dev/null || break; sleep 0.05; done
! pgrep -P "$server" >/dev/null && [ -z "$(ls "$root/tmp")" ]
say "a client that goes away ends its pull, without leftovers" $?
(head -c 2000000 "$IMAGES/nginx.tar"; sleep 2) | timeout 1 curl -s -o "$top/out" -T - -X POST --unix-socket "$top/docker.sock" http://d/v1.43/images/load
for i in $(seq 50); do pgrep -P "$server" >/dev/null || break; sleep 0.05; done
! pgrep -P "$server" >/dev/null && [ -z "$(ls "$root/tmp")" ]
say "and its load" $?
if command -v docker >/dev/null; then
    export DOCKER_HOST="unix://$top/docker.sock"
    docker load -q -i "$IMAGES/busybox.tar" >"$top/out" 2>&1 && docker tag busybox:1.36 it/x:1 && docker images >"$top/out" && grep -q "^it/x" "$top/out" &&
        docker rmi it/x:1 >"$top/out" && docker pull -q "$reg/plain:v1" >"$top/out" 2>&1
    say "docker client: load, tag, images, rmi, pull" $?
    ! docker load -i /etc/passwd >"$top/out" 2>&1 && grep -q "not an image archive" "$top/out"
    say "docker client: error of load" $?
    ! docker rmi nope >"$top/out" 2>&1 && grep -q "No such image" "$top/out"
    say "docker client: error of rmi" $?
fi
"$TOOL" image load "$IMAGES/nginx.tar" --socket "$top/docker.sock" >"$top/out" 2>&1 && grep -q "Loaded image: nginx:1.7.9" "$top/out"
say "skiff image load through the engine" $?
fails_with "the data root has one owner" "image store" ls
"$TOOL" image ls --socket "$top/docker.sock" >"$top/out" 2>&1 && grep -q "^nginx:1.7.9" "$top/out"
say "skiff image ls through the engine" $?
for i in "$reg/plain:v1" busybox nginx:latest; do cri remove "$i"; done
cri list && ! grep -q sha256 "$top/out"
say "CRI remove" $?
for i in $(seq 50); do [ "$(ls "$root/layers" | grep -vc empty)" = 0 ] && [ -z "$(ls "$root/trash")" ] && break; sleep 0.1; done
[ "$(ls "$root/layers" | grep -vc empty)" = 0 ] && [ -z "$(ls "$root/trash")" ] && [ -z "$(ls "$root/images/blobs")" ]
say "removal leaves nothing" $?
"$TOOL" cri "$top/cri.sock" pull "$reg/stall:v1" >"$top/stalled" 2>&1 &
stalled=$!
for i in $(seq 50); do pgrep -P "$server" >/dev/null && break; sleep 0.05; done
kill "$server" && wait "$server"
say "server ends in order in the middle of a pull" $?
wait "$stalled"

# ---- mirrors, as daemon.json names them ----
printf '{"registry-mirrors": ["mirror.invalid", "http://127.0.0.1:1", "http://%s"], "exec-opts": ["native.cgroupdriver=systemd"]}' "$reg" >"$top/daemon.json"
"$TOOL" serve "$top/mirrored" "$top/docker2.sock" "$top/cri2.sock" "$top/daemon.json" >"$top/served2" 2>&1 &
server=$!
pids="$pids $server"
for i in $(seq 100); do [ -S "$top/cri2.sock" ] && break; sleep 0.05; done
"$TOOL" cri "$top/cri2.sock" pull plain >"$top/out" 2>&1 && "$TOOL" cri "$top/cri2.sock" status plain >"$top/out" && grep -q "docker.io/library/plain:latest" "$top/out"
say "pull through the mirror that answers" $?
grep -q "mirror left out.*mirror.invalid" "$top/served2"
say "a mirror without a scheme is named" $?
! "$TOOL" cri "$top/cri2.sock" pull plain:missing >"$top/out" 2>&1 && grep -q "failed to" "$top/out"
say "what no mirror has" $?
kill "$server" && wait "$server"
# ---- TLS, away from loopback, in a network namespace of its own ----
cat >"$top/tls.sh" <<'END'
set -u
ip link set lo up && ip addr add 10.98.0.1/32 dev lo || exit 1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry -addext subjectAltName=IP:10.98.0.1 \
    -keyout "$top/key.pem" -out "$top/cert.pem" 2>/dev/null
"$here/image_registry.py" "$IMAGES/nginx.tar" "$top/tlsport" "$top/requests" 10.98.0.1 "$top/cert.pem" "$top/key.pem" 2>/dev/null &
registry=$!
CERTS_DIR=$top/certs "$TOOL" serve "$top/tlsroot" "$top/docker3.sock" "$top/cri3.sock" >"$top/served3" 2>&1 &
server=$!
for i in $(seq 100); do [ -S "$top/cri3.sock" ] && [ -f "$top/tlsport" ] && break; sleep 0.05; done
reg=10.98.0.1:$(cat "$top/tlsport")
rc=0
"$TOOL" cri "$top/cri3.sock" pull "$reg/plain" >"$top/out" 2>&1 && rc=2
grep -q "SSL certificate problem" "$top/out" || rc=3
mkdir -p "$top/certs/$reg" && cp "$top/cert.pem" "$top/certs/$reg/my.crt"
"$TOOL" cri "$top/cri3.sock" pull "$reg/plain" >"$top/out" 2>&1 || rc=4
kill "$server" "$registry"
wait "$server" || rc=5
exit $rc
END
if command -v openssl >/dev/null && unshare -n true 2>/dev/null; then
    export top here IMAGES
    unshare -n sh "$top/tls.sh"
    say "an unknown certificate is refused, one of certs.d is not" $?
fi
grep -iE "sanitizer|runtime error" "$top/served" "$top/served2" && say "sanitizer findings" 1

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
