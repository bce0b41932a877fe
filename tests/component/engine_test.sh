#!/bin/sh
# Sandboxes and containers over CRI, streams over WebSocket, and kill -9 of the engine at every step.
#   TOOL=engine-tool [ENGINE=the same with sanitizers] WORKER=skiff-worker MONITOR=skiff-monitor IMAGES=directory of scripts/images.sh
# Exits 77 with the reason when the machine cannot do it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${TOOL:?}" "${WORKER:?}" "${MONITOR:?}"
skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
command -v python3 >/dev/null || skip "needs python3"
command -v nsenter >/dev/null || skip "needs nsenter"
command -v runc >/dev/null || command -v crun >/dev/null || skip "needs runc or crun"
export SKIFF_WORKER="$WORKER" SKIFF_MONITOR="$MONITOR"
top=$(mktemp -d /tmp/skiff-engine.XXXXXX)
ns=skiffe$$
ip netns add "$ns" 2>/dev/null || skip "cannot make a network namespace"
nsenter --net="/run/netns/$ns" ip link set lo up
engine= failed=0 passed=0
cleanup() {
    [ -n "$engine" ] && kill -9 "$engine" 2>/dev/null && wait "$engine" 2>/dev/null
    for d in "$top"/run/containers/*/; do
        [ -f "$d/pid" ] && kill -9 "$(cat "$d/pid")" 2>/dev/null
    done
    sleep 0.3
    awk -v t="$top/" 'index($5, t) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
    ip netns del "$ns"
    find /sys/fs/cgroup -maxdepth 3 -depth -path "*/skiff-test-$$*" -type d -exec rmdir {} + 2>/dev/null
    rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

say() { if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL: $1"; fi; }
is() { if [ "$2" = "$3" ]; then say "$1" 0; else say "$1: \"$2\" is not \"$3\"" 1; fi; }
has() { case $2 in *"$3"*) say "$1" 0 ;; *) say "$1: \"$3\" is not in \"$2\"" 1 ;; esac; }
cri() { ASAN_OPTIONS=detect_leaks=0 "$TOOL" cri "$top/cri.sock" "$@" 2>&1; }
id_of() { sed 's/.*_id":"\([0-9a-f]*\)".*/\1/'; }
url_of() { sed 's/.*"url":"\([^"]*\)".*/\1/'; }
field() { grep -o "\"$1\":[^,}]*" | head -1 | cut -d: -f2- | tr -d '"'; }
wait_for() { # seconds/20, command...
    n=$1 && shift
    while ! eval "$*"; do n=$((n - 1)); [ "$n" -gt 0 ] || return 1; sleep 0.05; done
}
start_engine() {
    nsenter --net="/run/netns/$ns" "${ENGINE:-$TOOL}" engine --cri-socket "unix://$top/cri.sock" --data-root "$top/data" \
        --exec-root "$top/run" >>"$top/log" 2>&1 &
    engine=$!
    wait_for 200 'cri Version >/dev/null' || { say "engine starts: $(tail -3 "$top/log")" 1; exit 1; }
    cri UpdateRuntimeConfig '{"runtime_config":{"network_config":{"pod_cidr":"10.99.7.0/24"}}}' >/dev/null
}
stop_engine() { kill "$1" "$engine"; wait "$engine" 2>/dev/null; engine=; }
sandbox() { # name, more of the configuration
    cri RunPodSandbox "{\"config\":{\"metadata\":{\"name\":\"$1\",\"uid\":\"u-$1\",\"namespace\":\"default\"},\"hostname\":\"$1\",\"log_directory\":\"$top/logs\"${2-}}}" | id_of
}
create() { # sandbox, name, command, more of the configuration, more of the security context
    cri CreateContainer "{\"pod_sandbox_id\":\"$1\",\"config\":{\"metadata\":{\"name\":\"$2\"},\"image\":{\"image\":\"busybox\"},\"command\":$3,\"log_path\":\"$2.log\",\"linux\":{\"resources\":{${6-}},\"security_context\":{\"namespace_options\":{\"pid\":${PID-1}},\"seccomp\":{\"profile_type\":0}${5-}}}${4-}}}" | id_of
}
start() { cri StartContainer "{\"container_id\":\"$1\"}"; }
status() { cri ContainerStatus "{\"container_id\":\"$1\"}"; }
state() { status "$1" | field state; }
ended() { wait_for "${2-100}" "[ \"\$(state $1)\" = 2 ]"; }
run() { # sandbox, name, command, ...: sets c, and out to the log without times
    c=$(create "$@") && start "$c" >/dev/null && ended "$c"
    out=$(cut -d' ' -f2- "$top/logs/$2.log")
}
remove_all() {
    for p in $(cri ListPodSandbox | grep -o '"id":"[0-9a-f]*"' | cut -d'"' -f4); do
        cri StopPodSandbox "{\"pod_sandbox_id\":\"$p\"}" >/dev/null
        cri RemovePodSandbox "{\"pod_sandbox_id\":\"$p\"}" >/dev/null
    done
    for c in $(cri ListContainers | grep -o '"id":"[0-9a-f]\{64\}"' | cut -d'"' -f4); do cri RemoveContainer "{\"container_id\":\"$c\"}" >/dev/null; done
}
nothing_left() {
    is "$1: sandboxes" "$(cri ListPodSandbox)" '{"items":[]}'
    is "$1: containers" "$(cri ListContainers)" '{"containers":[]}'
    wait_for 60 "! grep -q ' $top/' /proc/self/mountinfo"
    is "$1: mounts" "$(awk -v t="$top/" 'index($5, t) == 1 {print $5}' /proc/self/mountinfo)" ""
    is "$1: links" "$(nsenter --net="/run/netns/$ns" ip -br link | grep -c vsk)" 0
    wait_for 60 "[ -z \"\$(ls $top/run/containers $top/run/sandboxes $top/run/runtime $top/run/exits | grep -v :\$ | grep .)\" ]"
    is "$1: files" "$(cd "$top" && find run/containers run/sandboxes run/exits run/runtime data/containers data/sandboxes data/network -mindepth 1)" ""
    is "$1: cgroups" "$(find /sys/fs/cgroup -maxdepth 4 -type d -path "*/skiff-test-$$/pod/*" 2>/dev/null | head -1)" ""
}

"$TOOL" image load --offline --data-root "$top/data" "${IMAGES:-/nonexistent}/busybox.tar" >"$top/out" 2>&1 ||
    { IMAGES=$top/images && IMAGES_DIR=$IMAGES "$here/../../scripts/images.sh" --no-load >"$top/out" 2>&1 &&
        "$TOOL" image load --offline --data-root "$top/data" "$IMAGES/busybox.tar" >"$top/out" 2>&1; } ||
    skip "no image: $(tail -1 "$top/out")"
start_engine
linux=",\"linux\":{\"cgroup_parent\":\"/skiff-test-$$/pod\"}"
ASAN_OPTIONS=detect_leaks=0 "$TOOL" watch "$top/cri.sock" >"$top/events" 2>/dev/null &
watcher=$!

# ---- a pod ----
p=$(sandbox one "$linux,\"dns_config\":{\"servers\":[\"10.254.0.10\"],\"searches\":[\"a.b\"]},\"labels\":{\"app\":\"x\"}")
has "address" "$(cri PodSandboxStatus "{\"pod_sandbox_id\":\"$p\"}")" '"ip":"10.99.7.'
run "$p" basic '["sh","-c","hostname; cat /etc/resolv.conf; ulimit -n; echo err >&2; printf part; exit 3"]'
is "output" "$out" "stdout F one
stdout F search a.b
stdout F nameserver 10.254.0.10
stdout F 1024
stderr F err
stdout P part"
is "exit code" "$(status "$c" | field exit_code)" 3
is "reason" "$(status "$c" | field reason)" Error
run "$p" sec '["sh","-c","id; grep -E \"CapEff|NoNew|Seccomp:\" /proc/self/status; touch /x || true"]' '' \
    ',"capabilities":{"drop_capabilities":["ALL"]},"run_as_user":{"value":1000},"run_as_group":{"value":2000},"supplemental_groups":[3000],"readonly_rootfs":true,"no_new_privs":true'
has "user" "$out" "uid=1000 gid=2000 groups=2000,3000"
has "capabilities" "$out" "CapEff:	0000000000000000"
has "no_new_privs" "$out" "NoNewPrivs:	1"
has "seccomp" "$out" "Seccomp:	2"
has "read-only root" "$out" "Read-only file system"
run "$p" long '["sh","-c","head -c 20000 /dev/zero | tr \"\\\\0\" x; echo; echo y"]'
is "long line in parts" "$(awk '{print $3, length($4)}' "$top/logs/long.log" | tr '\n' ,)" "P 16384,F 3616,F 1,"
run "$p" tty '["sh","-c","tty"]' ',"tty":true,"stdin":true'
has "terminal" "$out" /dev/pts/0
c=$(create "$p" oom '["sh","-c","x=a; while true; do x=$x$x; done"]' '' '' '"memory_limit_in_bytes":33554432')
start "$c" >/dev/null && ended "$c" 400
is "out of memory" "$(status "$c" | field reason)" OOMKilled
c=$(create "$p" bad '["/nonexistent"]')
has "bad command" "$(start "$c")" "no such file"
is "bad command's code" "$(status "$c" | field exit_code)" 128
is "bad command's reason" "$(status "$c" | field reason)" StartError

mkdir -p "$top/host/sub" && mount -t tmpfs sub "$top/host/sub"
run "$p" rro '["sh","-c","touch /m/x; touch /m/sub/x"]' ",\"mounts\":[{\"container_path\":\"/m\",\"host_path\":\"$top/host\",\"readonly\":true,\"recursive_read_only\":true}]"
is "recursively read-only" "$(echo "$out" | grep -c "Read-only file system")" 2
umount "$top/host/sub"
has "the host's sysctls are safe" "$(sandbox bad "$(echo "$linux" | sed 's/}$/,"security_context":{"namespace_options":{"network":2}},"sysctls":{"net.core.somaxconn":"1"}}/')")" "not allowed with the host's network"

# ---- exec, attach, stats ----
c=$(create "$p" main '["sh","-c","trap \"exit 9\" TERM; while read l; do echo got $l; done; while true; do sleep 0.1; done"]' ',"stdin":true')
start "$c" >/dev/null
is "exec" "$(cri ExecSync "{\"container_id\":\"$c\",\"cmd\":[\"sh\",\"-c\",\"echo out; echo err >&2; exit 4\"]}")" \
    '{"stdout":"out\n","stderr":"err\n","exit_code":4}'
has "exec of nothing" "$(cri ExecSync "{\"container_id\":\"$c\",\"cmd\":[\"nope\"]}")" "executable file not found"
has "exec timeout" "$(cri ExecSync "{\"container_id\":\"$c\",\"cmd\":[\"sleep\",\"9\"],\"timeout\":1}")" "DeadlineExceeded"
stream() { nsenter --net="/run/netns/$ns" "$here/engine_stream.py" "$@" 2>&1; }
q="\"container_id\":\"$c\",\"stdout\":true"
has "stream" "$(stream "$(cri Exec "{$q,\"stdin\":true,\"cmd\":[\"cat\"]}" | url_of)" --stdin 'hello\n')" 'hello
status: {"metadata":{},"status":"Success"}'
has "stream's exit code" "$(stream "$(cri Exec "{$q,\"cmd\":[\"sh\",\"-c\",\"exit 5\"]}" | url_of)")" '"reason":"ExitCode","message":"5"'
has "terminal's size" "$(stream "$(cri Exec "{$q,\"stdin\":true,\"tty\":true,\"cmd\":[\"sh\",\"-c\",\"sleep 0.3; stty size\"]}" | url_of)" --resize 120,40)" "40 120"
has "attach" "$(stream "$(cri Attach "{$q,\"stdin\":true}" | url_of)" --stdin 'aa\n' --seconds 1 --keep)" "got aa"
mv "$top/logs/main.log" "$top/logs/main.log.1"
is "reopen" "$(cri ReopenContainerLog "{\"container_id\":\"$c\"}")" '{}'
is "new log" "$(test -f "$top/logs/main.log" && echo yes)" yes
has "stats" "$(cri ContainerStats "{\"container_id\":\"$c\"}")" '"working_set_bytes":{"value":'
has "network stats" "$(cri PodSandboxStats "{\"pod_sandbox_id\":\"$p\"}")" '"name":"eth0","rx_bytes"'
is "update" "$(cri UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"memory_limit_in_bytes\":67108864}}")" '{}'
has "update shows" "$(status "$c")" '"memory_limit_in_bytes":67108864'
has "label filter" "$(cri ListPodSandbox '{"filter":{"label_selector":{"app":"x"}}}')" "$p"
is "label filter without match" "$(cri ListPodSandbox '{"filter":{"label_selector":{"app":"y"}}}')" '{"items":[]}'
is "prefix" "$(cri ContainerStatus "{\"container_id\":\"$(echo "$c" | cut -c1-12)\"}" | field id)" "$c"
has "unknown container" "$(status 0123)" "NotFound"

# ---- kill -9 with things running ----
quick=$(create "$p" quick '["sh","-c","sleep 0.7; echo late; exit 9"]')
start "$quick" >/dev/null
stop_engine -9
sleep 1
start_engine
is "still running" "$(state "$c")" 1
is "ended meanwhile" "$(state "$quick")" 2
is "its exit code" "$(status "$quick" | field exit_code)" 9
has "its log" "$(cat "$top/logs/quick.log")" "stdout F late"
is "exec after the restart" "$(cri ExecSync "{\"container_id\":\"$c\",\"cmd\":[\"true\"]}" | field exit_code)" 0
is "stop" "$(cri StopContainer "{\"container_id\":\"$c\",\"timeout\":5}")" '{}'
is "stop signal's exit code" "$(status "$c" | field exit_code)" 9
is "stop twice" "$(cri StopContainer "{\"container_id\":\"$c\",\"timeout\":5}")" '{}'
is "remove" "$(cri RemoveContainer "{\"container_id\":\"$c\"}")" '{}'
is "remove twice" "$(cri RemoveContainer "{\"container_id\":\"$c\"}")" '{}'
kill "$watcher" 2>/dev/null
has "events" "$(cut -d' ' -f1 "$top/events" | sort -u | tr '\n' ' ')" \
    "CONTAINER_CREATED_EVENT CONTAINER_STARTED_EVENT CONTAINER_STOPPED_EVENT"
remove_all
nothing_left "after removal"

# ---- other namespaces ----
p=$(sandbox shared "$(echo "$linux" | sed 's/}$/,"security_context":{"namespace_options":{"pid":0}}}/'),\"port_mappings\":[{\"container_port\":80,\"host_port\":8099}]")
PID=0
run "$p" ps '["cat","/proc/1/comm"]'
PID=1
has "shared pid namespace" "$out" pause
c=$(create "$p" web '["sh","-c","mkdir -p /w; echo page > /w/index.html; httpd -f -p 80 -h /w"]')
start "$c" >/dev/null
fetch='nsenter --net=/run/netns/$ns python3 -c "import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8099/\", timeout=2).read().decode())" 2>&1'
wait_for 60 "$fetch >/dev/null"
has "host port" "$(eval "$fetch")" page
# two pods of this node, with a packet filter that forwards nothing by itself
if command -v iptables-nft >/dev/null; then
    nsenter --net="/run/netns/$ns" iptables-nft -P FORWARD DROP
fi
ip=$(cri PodSandboxStatus "{\"pod_sandbox_id\":\"$p\"}" | field ip)
n=$(sandbox neighbour "$linux,\"port_mappings\":[{\"container_port\":81,\"host_port\":8098}]")
run "$n" nc "[\"sh\",\"-c\",\"(echo GET /index.html HTTP/1.0; echo) | nc -w 3 $ip 80 | tail -1\"]"
is "pod to pod" "$out" "stdout F page"
h=$(sandbox hostnet "$(echo "$linux" | sed 's/}$/,"security_context":{"namespace_options":{"network":2}}}/')")
out=$(cri CreateContainer "{\"pod_sandbox_id\":\"$h\",\"config\":{\"metadata\":{\"name\":\"hn\"},\"image\":{\"image\":\"busybox\"},\"command\":[\"ip\",\"link\"],\"log_path\":\"hn.log\",\"linux\":{\"security_context\":{\"namespace_options\":{\"network\":2,\"pid\":1}}}}}" | id_of)
start "$out" >/dev/null && ended "$out"
has "host network" "$(cat "$top/logs/hn.log")" skiff0
remove_all
nothing_left "after other namespaces"

# ---- kill -9 in the middle of every step ----
for delay in 0 0.005 0.01 0.02 0.03 0.05 0.08; do
    for step in sandbox create start stop remove; do
        p=$(sandbox "k$step" "$linux") c=
        case $step in
        sandbox) sandbox killed "$linux" >/dev/null & ;;
        create) create "$p" killed '["sleep","100"]' >/dev/null & ;;
        start) c=$(create "$p" killed '["sleep","100"]') && start "$c" >/dev/null & ;;
        stop) c=$(create "$p" killed '["sleep","100"]') && start "$c" >/dev/null && cri StopContainer "{\"container_id\":\"$c\"}" >/dev/null & ;;
        remove) c=$(create "$p" killed '["sleep","100"]') && start "$c" >/dev/null && cri RemovePodSandbox "{\"pod_sandbox_id\":\"$p\"}" >/dev/null & ;;
        esac
        client=$!
        case $step in stop | remove) sleep 0.1 ;; start) sleep 0.02 ;; esac
        sleep "$delay"
        stop_engine -9
        wait "$client"
        start_engine
        remove_all
    done
done
nothing_left "after kills"

stop_engine -TERM
if grep -E "ERROR: AddressSanitizer|LeakSanitizer|runtime error:" "$top/log"; then sed -n '/Sanitizer\|runtime error/,$p' "$top/log" | head -60; say "sanitizers" 1; fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] || tail -20 "$top/log"
[ "$failed" = 0 ]
