#!/bin/sh
# Build the fuzz targets with clang's libFuzzer, ASan and UBSan, and run each for a while on a copy of its corpus.
# Usage: run.sh [SECONDS=30] [TARGET...]     run.sh --replay     (no clang: the corpus alone, under gcc's sanitizers)
# Prints a line a target; exit 1 when one found something. Writes "passed failed skipped" to build/counts/fuzz.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/fuzz
work=$build/run

# The files that a target begins with: those of its "seeds:" line, and its folder in corpus/.
seeds() {
    (cd "$root" && for pattern in $(sed -n 's/.*seeds: //p' "tests/fuzz/$1.c" | sed 's,\*/,,'); do
        for file in $pattern; do [ -f "$file" ] && echo "$root/$file"; done
    done)
    find "$root/tests/fuzz/corpus/$1" -type f 2>/dev/null
}

# One target: its log and what it found are in build/fuzz/run/TARGET.
run_one() {
    name=$1 seconds=$2
    mkdir -p "$work/$name/corpus" "$work/$name/found"
    n=0
    for file in $(seeds "$name"); do
        n=$((n + 1))
        cp "$file" "$work/$name/corpus/seed-$n"
    done
    if "$build/tests/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
        -artifact_prefix="$work/$name/found/" "$work/$name/corpus" >"$work/$name/log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name/log")
        cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/$name/log" | tail -1)
        echo "$name: ok, $n seeds, $runs runs, $cover edges"
        : >"$work/$name/ok"
    else
        grep -E 'SUMMARY|ERROR|does not hold' "$work/$name/log" | head -5
        echo "$name: FOUND something; $work/$name/log says what, and this repeats it:"
        for file in "$work/$name"/found/*; do echo "    $build/tests/$name $file"; done
    fi
}

if [ "${1:-}" = --one ]; then
    run_one "$2" "$3"
    exit 0
fi

cores=$(nproc)
replay=
if [ "${1:-}" = --replay ] || ! command -v clang >/dev/null; then
    replay=yes
fi
case ${1:-} in
--replay) shift ;;
[0-9]*) seconds=$1 && shift ;;
esac
seconds=${seconds:-30}
targets=$*
[ -n "$targets" ] || targets=$(cd "$root/tests/fuzz" && ls fuzz_*.c | sed 's/\.c$//')

if [ -n "$replay" ]; then
    echo "the corpora are replayed; fuzzing needs clang"
    build=$root/build/replay
    mkdir -p "$build"
    cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Debug -DVLM_SANITIZE=address,undefined >"$build/build.log" || exit 1
    # shellcheck disable=SC2086
    cmake --build "$build" -j "$cores" --target $targets >>"$build/build.log" || exit 1
    failed=0 passed=0
    for name in $targets; do
        # shellcheck disable=SC2046
        if "$build/tests/$name" $(seeds "$name"); then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "$name: FOUND something"; fi
    done
else
    mkdir -p "$build"
    cmake -S "$root" -B "$build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DVLM_FUZZ=ON \
        -DVLM_SANITIZE=address,undefined >"$build/build.log" 2>&1 &&
        # shellcheck disable=SC2086
        cmake --build "$build" -j "$cores" --target $targets >>"$build/build.log" 2>&1 || {
        tail -30 "$build/build.log" >&2
        exit 1
    }
    rm -rf "$work"
    # shellcheck disable=SC2086
    printf '%s\n' $targets | xargs -P "$cores" -I {} sh "$0" --one {} "$seconds"
    passed=0 failed=0
    for name in $targets; do
        if [ -f "$work/$name/ok" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    done
fi
mkdir -p "$root/build/counts"
echo "$passed $failed 0" >"$root/build/counts/fuzz"
[ "$failed" = 0 ]
