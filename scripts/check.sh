#!/bin/sh
# Rules of the tree that a compiler does not know: layers point downwards, files and functions stay small,
# banned calls stay out. Prints one line per finding and fails if there is any.
set -u
cd "$(dirname "$0")/.."
bad=0
say() {
    printf '%s\n' "$*"
    bad=1
}

# layer -> what it may include (docs/architecture.md has the same list)
may() {
    case $1 in
    base) echo base ;;
    codec) echo "base codec" ;;
    loop) echo "base loop" ;;
    net) echo "base codec loop net" ;;
    api) echo "base codec loop net api" ;;
    engine) echo "base codec loop net api engine monitor" ;; # monitor: the messages and files it shares with the engine
    kubelet | proxy | overlay | server) echo "base codec loop net api $1" ;;
    monitor) echo "monitor base" ;; # base for its tests only: it links nothing
    cli) echo "base codec loop net api engine kubelet proxy overlay server cli" ;;
    esac
}
for layer in base codec loop net api engine kubelet proxy overlay server monitor cli; do
    allowed=$(may $layer)
    grep -rHoE '^#include "[a-z0-9_]+/' "src/$layer" --include='*.c' --include='*.h' 2>/dev/null |
        sed -E 's/^([^:]+):#include "([a-z0-9_]+)\//\1 \2/' | sort -u | while read -r file used; do
        case " $allowed " in
        *" $used "*) ;;
        *) echo "layer: $file includes $used/, which $layer may not use" ;;
        esac
    done
done >/tmp/skiff-check.$$
[ -s /tmp/skiff-check.$$ ] && { cat /tmp/skiff-check.$$; bad=1; }
rm -f /tmp/skiff-check.$$

# sizes: files 1,000 lines (tests 1,500)
for f in $(git ls-files 'src/*.c' 'src/*.h' 'fuzz/*.c' 'tests/*.c'); do
    [ -f "$f" ] || continue
    n=$(wc -l <"$f")
    max=1000
    case $f in *_test.c | tests/*) max=1500 ;; esac
    [ "$n" -gt "$max" ] && say "size: $f has $n lines; the limit is $max"
done

# functions: 100 lines, from an opening brace in column 0 to the closing one; the exceptions are named
for f in $(git ls-files 'src/*.c'); do
    [ -f "$f" ] || continue
    awk -v f="$f" '/^\{/ { start = NR; name = prev } /^[A-Za-z].*\(/ { prev = $0 }
        /^\}/ && start { if (NR - start > 100) print "function: " f ": " prev " has " NR - start " lines"; start = 0 }' "$f"
done >/tmp/skiff-check.$$
if [ -s /tmp/skiff-check.$$ ]; then
    grep -vFf scripts/long-functions.txt /tmp/skiff-check.$$ && bad=1
fi
rm -f /tmp/skiff-check.$$

banned='\b(sprintf|vsprintf|strcpy|strcat|strtok|atoi|atol|system|popen|gets|tmpnam|mktemp)\('
git grep -nE "$banned" -- 'src/*.c' | grep -vE '^[^:]+:[0-9]+:\s*(\*|//|/\*)' && say "banned: the calls above"

# format: what .clang-format says
if command -v clang-format >/dev/null; then
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run 2>&1 | sed -nE 's/^([^:]+):[0-9]+:[0-9]+: warning.*/\1/p' | sort -u >/tmp/skiff-check.$$
    [ -s /tmp/skiff-check.$$ ] && { sed 's/^/format: run make format on /' /tmp/skiff-check.$$; bad=1; }
    rm -f /tmp/skiff-check.$$
fi
exit $bad
