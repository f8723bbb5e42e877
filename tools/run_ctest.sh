#!/bin/sh
# Run the tests of a build folder and write "passed failed skipped" to build/counts/<folder's name>.
# Usage: run_ctest.sh BUILD_FOLDER
# cmocka's own sums are counted where a program printed one, the program itself where not (a crash, a script).
set -u

folder=$1
mkdir -p build/counts
# The sanitizers' shadow memory and a highly random address space do not go together on some kernels.
calm=
if setarch -R true 2>/dev/null; then calm="setarch -R"; fi
UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=allocator_may_return_null=1 TSAN_OPTIONS=halt_on_error=1 \
    $calm ctest --test-dir "$folder" --output-on-failure --timeout 600 -j "$(nproc)"
status=$?
log=$folder/Testing/Temporary/LastTest.log
if [ ! -f "$log" ]; then
    echo "0 1 0" >"build/counts/$(basename "$folder")"
    echo "$folder: ctest ran nothing" >&2
    exit 1
fi
awk '
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
END { flush(); printf "%d %d %d\n", passed, failed, skipped }' "$log" >"build/counts/$(basename "$folder")"
exit $status
