#!/bin/sh
# The roles are linked into one program: a function of the same name in two of them would silently be taken from
# whichever library the linker meets first. Usage: symbols.sh BUILDDIR
set -u
cd "$1" || exit 1
found=$(find src -name 'lib*.a' ! -name 'libserver_reconcilers.a' ! -name 'libimage_worker.a' | while read -r l; do
    nm --defined-only "$l" 2>/dev/null | awk -v l="$l" '$2 ~ /[TDBR]/ { print $3, l }'
done | sort -u | awk '{ n[$1]++; where[$1] = where[$1] " " $2 } END { for (s in n) if (n[s] > 1) print "symbol: " s " is defined in" where[s] }')
[ -z "$found" ] && exit 0
echo "$found"
exit 1
