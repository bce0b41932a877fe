#!/bin/bash
# Measures a one-node cluster on this machine and prints Markdown rows: start to Ready with an empty and an existing data
# directory, PSS of every process with no pods and with 10, request to Running as a watch sees it, sizes of the programs.
# Needs root and a machine without a skiff node; leaves it as it was.
#   bench/run.sh [RUNS]        SKIFF=path of skiff [build/bin/skiff]
set -u
cd "$(dirname "$0")/.."
runs=${1:-5}
SKIFF=${SKIFF:-build/bin/skiff}
[ "$(id -u)" = 0 ] || { echo "bench/run.sh: needs root" >&2; exit 1; }
[ ! -e /var/lib/skiff ] || { echo "bench/run.sh: /var/lib/skiff exists; run skiff reset first" >&2; exit 1; }
export KUBECONFIG=/var/lib/skiff/admin.kubeconfig
trap '"$SKIFF" reset --yes >/dev/null 2>&1' EXIT

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
ready_ms() { "$SKIFF" up | sed -nE 's/.*is Ready after ([0-9]+) ms.*/\1/p'; }

pss_table() { # one row a process of ours, then sums
    node=0 plane=0 monitors=0 n=0
    for pid in $(ls -l /proc/[0-9]*/exe 2>/dev/null | grep -F "$(dirname "$(readlink -f "$SKIFF")")/" | sed -E 's|.*/proc/([0-9]+)/exe.*|\1|'); do
        exe=$(basename "$(readlink "/proc/$pid/exe")") || continue
        role=$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -d' ' -f2)
        kb=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null) || continue
        case $exe in
        skiff-monitor) monitors=$((monitors + kb)) n=$((n + 1)) node=$((node + kb)) ;;
        skiff)
            echo "| PSS of $role, $1 | $kb kB |"
            if [ "$role" = server ]; then plane=$((plane + kb)); else node=$((node + kb)); fi
            ;;
        esac
    done
    [ $n -gt 0 ] && echo "| PSS of $n monitors, $1 | $monitors kB, $((monitors / n)) kB each |"
    echo "| PSS of the node (engine, agent, supervisor, monitors), $1 | $node kB |"
    echo "| PSS of the control plane, $1 | $plane kB |"
}

echo "| what | figure |"
echo "|---|---|"
echo "| machine | $(nproc) cores, kernel $(uname -r) |"
for f in "$SKIFF" "$(dirname "$SKIFF")/skiff-monitor" "$(dirname "$SKIFF")/skiff-worker"; do
    strip -o /tmp/skiff-stripped.$$ "$f" && echo "| size of $(basename "$f"), stripped | $(stat -c %s /tmp/skiff-stripped.$$) bytes |"
    rm -f /tmp/skiff-stripped.$$
done
for _ in $(seq "$runs"); do
    ready_ms
    "$SKIFF" reset --yes >/dev/null
done >/tmp/skiff-bench.$$
echo "| skiff up to Ready, empty data directory, median of $runs | $(median </tmp/skiff-bench.$$) ms ($(sort -n /tmp/skiff-bench.$$ | head -1)-$(sort -n /tmp/skiff-bench.$$ | tail -1)) |"
ready_ms >/dev/null
for _ in $(seq "$runs"); do
    "$SKIFF" down >/dev/null
    sleep 1.2 # heartbeats have seconds: an old one must not look like a new one
    ready_ms
done >/tmp/skiff-bench.$$
echo "| skiff up to Ready, existing data directory, median of $runs | $(median </tmp/skiff-bench.$$) ms ($(sort -n /tmp/skiff-bench.$$ | head -1)-$(sort -n /tmp/skiff-bench.$$ | tail -1)) |"
SKIFF=$SKIFF scripts/images.sh >/dev/null
sleep 5
pss_table "no pods"

# request to Running: a watch stamps every event as it comes
stamp() { python3 -u -c '
import sys, time
for line in sys.stdin:
    print("%.3f %s" % (time.time(), line.rstrip()))'; }
kubectl get pods -w --no-headers -o 'custom-columns=N:.metadata.name,P:.status.phase' 2>/dev/null | stamp >/tmp/skiff-watch.$$ &
watcher=$!
sleep 1
for i in $(seq 10); do
    printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: bench-%s}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {name: c, image: "docker.io/library/busybox:latest", imagePullPolicy: Never, command: [sleep, "100000"]}\n' "$i" >/tmp/skiff-pod.$$
    kubectl create -f /tmp/skiff-pod.$$ >/dev/null
    end=$(($(date +%s) + 30))
    until grep -q "bench-$i *Running" /tmp/skiff-watch.$$ || [ "$(date +%s)" -ge $end ]; do sleep 0.02; done
    from=$(grep "bench-$i *Pending" /tmp/skiff-watch.$$ | head -1 | cut -d' ' -f1)
    to=$(grep "bench-$i *Running" /tmp/skiff-watch.$$ | head -1 | cut -d' ' -f1)
    awk -v a="$from" -v b="$to" 'BEGIN { printf "%d\n", (b - a) * 1000 }'
done >/tmp/skiff-bench.$$
kill $watcher 2>/dev/null
echo "| pod created to Running, seen by a watch, median of 10 | $(median </tmp/skiff-bench.$$) ms ($(sort -n /tmp/skiff-bench.$$ | head -1)-$(sort -n /tmp/skiff-bench.$$ | tail -1)) |"
sleep 5
pss_table "10 pods"
rm -f /tmp/skiff-bench.$$ /tmp/skiff-watch.$$ /tmp/skiff-pod.$$
