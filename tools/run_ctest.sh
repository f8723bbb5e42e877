#!/bin/sh
# Run the tests of a build folder and write "passed failed skipped" to build/counts/<folder's name>.
# Usage: run_ctest.sh BUILD_FOLDER [CTEST_OPTION...]
# cmocka's own sums are counted where a program printed one, the program itself where not (a crash, a script).
set -u

folder=$1
shift
mkdir -p build/counts
# The sanitizers' shadow memory and a highly random address space do not go together on some kernels.
calm=
if setarch -R true 2>/dev/null; then calm="setarch -R"; fi
UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=allocator_may_return_null=1 TSAN_OPTIONS=halt_on_error=1 \
    $calm ctest --test-dir "$folder" --output-on-failure --timeout 900 -j "$(nproc)" \
    --output-junit "$PWD/build/counts.xml" "$@"
status=$?
log=$folder/Testing/Temporary/LastTest.log
if [ ! -f "$log" ]; then
    echo "0 1 0" >"build/counts/$(basename "$folder")"
    echo "$folder: ctest ran nothing" >&2
    exit 1
fi
# The log calls a program that skipped itself (status 77) passed; the other report knows.
whole=$(sed -n 's/.*skipped="\([0-9]*\)".*/\1/p' build/counts.xml | head -1)
awk -v whole="${whole:-0}" '
function flush() {
    if (!seen) return
    passed += sums ? p : ok
    skipped += s
    if (!ok) failed += f ? f : 1
}
/^[0-9]+\/[0-9]+ Testing: / { flush(); seen = 1; sums = p = f = s = ok = 0 }
/^\[  PASSED  \] [0-9]+ test/ { sums = 1; p += $4 }
/^\[  FAILED  \] [0-9]+ test/ { f += $4 }
/^\[  SKIPPED \] [0-9]+ test/ { s += $4 }
/^Test Passed\.$/ { ok = 1 }
END { flush(); printf "%d %d %d\n", passed - whole, failed, skipped + whole }' "$log" >"build/counts/$(basename "$folder")"
exit $status
