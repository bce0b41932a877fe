#!/bin/bash
# Bad input: one clear sentence with the remedy, a non-zero exit, nothing left behind.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
[ ! -e /var/lib/skiff ] || skip "/var/lib/skiff exists; this test wants a machine without a node"
expect_error "unknown command" 'did you mean "reset"' "$SKIFF" rest
expect_error "unknown flag" "did you mean --node-ip" "$SKIFF" up --node-pi 1.2.3.4
expect_error "loopback address" "loopback" "$SKIFF" up --node-ip 127.0.0.1
expect_error "bad node name" "DNS-1123" "$SKIFF" up --node-name Node_1
expect_error "missing runtime" "no-such-runtime" "$SKIFF" up --runtime no-such-runtime
expect_error "reset asks" "nothing was changed" sh -c "echo no | '$SKIFF' reset"
expect_error "not root" "root" setpriv --reuid 65534 --clear-groups "$SKIFF" up
mkdir -p /tmp/skiff-ro && mount -t tmpfs -o ro none /tmp/skiff-ro
expect_error "data directory not writable" "/tmp/skiff-ro" "$SKIFF" up --data-dir /tmp/skiff-ro --run-dir /tmp/skiff-ro/run
umount /tmp/skiff-ro
rmdir /tmp/skiff-ro
socat TCP6-LISTEN:6443,ipv6only=0,fork,reuseaddr /dev/null &
holder=$!
bound() { ss -ltn 2>/dev/null | grep -q ':6443 ' ; }
until_ok 5 "port holder listens" bound
expect_error "port taken, and by whom" "socat" "$SKIFF" up
kill $holder
wait $holder 2>/dev/null
"$SKIFF" reset --yes >/dev/null 2>&1
[ ! -e /var/lib/skiff ] && ok "nothing left behind" || fail "/var/lib/skiff was left behind"
finish
