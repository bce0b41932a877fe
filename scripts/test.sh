#!/bin/sh
# Runs every test and ends with one line that counts them. Each stage goes on after a failure, so that one run shows all.
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
JOBS=${JOBS:-2}
passed=0 failed=0 skipped=0

count() { # a meson test log on stdin
    ok=$(sed -nE 's/^Ok: +([0-9]+).*/\1/p' "$1") bad=$(sed -nE 's/^(Fail|Timeout|Unexpected Pass): +([0-9]+).*/\2/p' "$1" | paste -sd+)
    [ -n "$bad" ] || bad=0
    skip=$(sed -nE 's/^Skipped: +([0-9]+).*/\1/p' "$1")
    passed=$((passed + ${ok:-0})) skipped=$((skipped + ${skip:-0}))
    failed=$((failed + $(($bad))))
}

stage() { # name, builddir, meson test arguments...
    name=$1 dir=$2
    shift 2
    echo "== $name"
    meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes "$JOBS" "$@" >"$dir/test.log" 2>&1 || true
    grep -E '^ *[0-9]+/[0-9]+ .*(FAIL|TIMEOUT|ERROR|SKIP)' "$dir/test.log"
    if ! grep -q '^Ok: ' "$dir/test.log"; then
        tail -40 "$dir/test.log"
        failed=$((failed + 1))
    elif grep -qE '^ *[0-9]+/[0-9]+ .*(FAIL|TIMEOUT|ERROR)' "$dir/test.log"; then
        sed -n '/Summary of Failures/,$p' "$dir/test.log" | head -30
        grep -E 'LINE|ERROR|ASSERT|runtime error|not ok|FAILED' "$dir/test.log" | head -60
    fi
    count "$dir/test.log"
}

echo "== rules of the tree"
if scripts/check.sh && scripts/symbols.sh "$BUILD"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi

stage "unit" "$BUILD" --suite unit
stage "system" "$BUILD" --suite system --num-processes 1

echo "== both sanitizers (clang)"
[ -f build-asan/build.ninja ] || CC=clang meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false >/dev/null || failed=$((failed + 1))
if ninja -C build-asan -j"$JOBS" --quiet >build-asan/build.log 2>&1; then
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    stage "unit under sanitizers" build-asan --suite unit
else
    grep -E 'error|FAILED|undefined' build-asan/build.log | head -20
    failed=$((failed + 1))
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
