# Helpers of the end-to-end tests. A test is a shell script that sources this file; `ok` and `fail` count, `finish` ends it.
# Nothing sleeps for a fixed time: `until_ok` polls with a deadline.
set -u
SKIFF=${SKIFF:?set SKIFF to the skiff binary}
failures=0
checks=0

skip() {
    echo "skipped: $*"
    exit 77
}
ok() {
    checks=$((checks + 1))
    echo "ok   $*"
}
fail() {
    checks=$((checks + 1))
    failures=$((failures + 1))
    echo "FAIL $*"
}
# expect NAME COMMAND...: the command must succeed
expect() {
    name=$1
    shift
    if out=$("$@" 2>&1); then ok "$name"; else fail "$name: $* => $(printf %s "$out" | tail -3)"; fi
}
# expect_text NAME TEXT COMMAND...: its output must contain TEXT
expect_text() {
    name=$1 text=$2
    shift 2
    out=$("$@" 2>&1)
    case $out in
    *"$text"*) ok "$name" ;;
    *) fail "$name: \"$text\" is not in the output of $*: $(printf %s "$out" | tail -5)" ;;
    esac
}
# expect_error NAME TEXT COMMAND...: it must fail and say TEXT
expect_error() {
    name=$1 text=$2
    shift 2
    if out=$("$@" 2>&1); then
        fail "$name: $* succeeded"
        return
    fi
    case $out in
    *"$text"*) ok "$name" ;;
    *) fail "$name: \"$text\" is not in: $out" ;;
    esac
}
# until_ok SECONDS NAME COMMAND...
until_ok() {
    limit=$1 name=$2
    shift 2
    end=$(($(date +%s) + limit))
    while ! out=$("$@" 2>&1); do
        if [ "$(date +%s)" -ge "$end" ]; then
            fail "$name (after $limit s): $(printf %s "$out" | tail -3)"
            return 1
        fi
        sleep 0.05
    done
    ok "$name"
}
finish() {
    echo "$((checks - failures)) passed, $failures failed"
    [ "$failures" = 0 ]
    exit
}
# What a machine looks like from outside: everything `reset` promises to put back.
machine_state() {
    echo "# processes"
    readlink /proc/[0-9]*/exe 2>/dev/null | grep -F "$(dirname "$(readlink -f "$SKIFF")")/" | sort
    echo "# mounts"
    awk '{ print $5, $9 }' /proc/self/mountinfo | sort
    echo "# links"
    ip -o link | awk -F': ' '{ print $2 }' | sort
    echo "# routes"
    ip route | sort
    echo "# rules"
    if command -v nft >/dev/null; then nft list tables | sort; fi
    echo "# namespaces"
    ls /run/netns 2>/dev/null
    ls /proc/[0-9]*/ns/net >/dev/null 2>&1
    echo "# cgroups"
    find /sys/fs/cgroup -type d 2>/dev/null | grep -E 'kubepods|skiff|crun|runc' | sort
    echo "# sysctls"
    cat /proc/sys/net/ipv4/ip_forward
    echo "# files"
    ls -d /var/lib/skiff /run/skiff /var/lib/kubelet /run/flannel /var/log/pods /var/log/containers /etc/cni 2>/dev/null
}
