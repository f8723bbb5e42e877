#!/bin/sh
# Tests of the program through its command line: stdout, stderr, exit status, files.
# usage: run.sh SOURCE_FOLDER VLM JSON_LINES TESTS.sh...
# Every function test_* of the given files is a test; it runs in its own empty folder and fails when a check
# does. The sums are printed as cmocka prints them, so that tools/run_ctest.sh counts them.
set -u

source_folder=$1
vlm_program=$2
json_lines=$3
shift 3
models=$source_folder/tests/golden/models
pictures=$source_folder/tests/golden/pictures
clip=$models/clip-tiny
vit=$models/vit-tiny
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export LC_ALL=C.UTF-8
# fontconfig keeps its fonts until the end of the process, and the leak checker takes that for a leak.
echo "leak:libfontconfig" >"$work/leaks"
export LSAN_OPTIONS="suppressions=$work/leaks:print_suppressions=0"
n_failed=0 n_passed=0 n_skipped=0

# run WORDS...: vlm with these words; $status, $work/out and $work/err are what came of it.
run() {
    command="vlm $*"
    "$vlm_program" "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
}
# The same with --json and the given paths of its lines in $work/values.
run_json() {
    paths=$1
    shift
    run "$@" --json
    # shellcheck disable=SC2086
    "$json_lines" $paths <"$work/out" >"$work/values" || fail "stdout is not JSON lines"
}

fail() {
    echo "    $*"
    echo "    after: $command"
    echo "    status $status; stdout:"
    head -c 600 "$work/out" | sed 's/^/        /'
    echo "    stderr:"
    head -c 600 "$work/err" | sed 's/^/        /'
    exit 1
}
skip() {
    echo "    skipped: $*"
    exit 77
}
want_status() { [ "$status" = "$1" ] || fail "the status is not $1"; }
want_out() { grep -q -e "$1" "$work/out" || fail "stdout lacks: $1"; }
want_err() { grep -q -e "$1" "$work/err" || fail "stderr lacks: $1"; }
want_no_out() { [ ! -s "$work/out" ] || fail "there is something on stdout"; }
want_no_err() { [ ! -s "$work/err" ] || fail "there is something on stderr"; }
# The lines of $work/values are exactly these.
want_values() {
    printf '%s\n' "$@" >"$work/wanted"
    cmp -s "$work/wanted" "$work/values" || fail "the values are: $(cat "$work/values"); wanted: $*"
}
# Wrong usage: status 2, nothing on stdout, a sentence and a hint on stderr.
want_usage() {
    want_status 2
    want_no_out
    want_err "$1"
    want_err "^Try: vlm"
    [ "$(wc -l <"$work/err")" = 2 ] || fail "stderr is not a sentence and a hint"
}
# Nothing was left in the folder but these files.
want_files() {
    found=$(find . -mindepth 1 | sort | tr '\n' ' ')
    wanted=$(for file in "$@"; do echo "./$file"; done | sort | tr '\n' ' ')
    [ "$found" = "$wanted" ] || fail "the folder holds: $found; wanted: $wanted"
}

for file in "$@"; do
    for test in $(sed -n 's/^\(test_[a-z0-9_]*\)() *{.*/\1/p' "$file"); do
        mkdir "$work/here" || exit 1
        (
            cd "$work/here" || exit 1
            # shellcheck disable=SC1090
            . "$file"
            command= status=0
            : >"$work/out"
            : >"$work/err"
            "$test"
        )
        result=$?
        case $result in
        0) n_passed=$((n_passed + 1)) ;;
        77) n_skipped=$((n_skipped + 1)) ;;
        *) n_failed=$((n_failed + 1)) ;;
        esac
        [ $result = 0 ] || [ $result = 77 ] || echo "[  FAILED  ] $test"
        [ $result = 77 ] && echo "[  SKIPPED ] $test"
        rm -rf "$work/here"
    done
done
echo "[  PASSED  ] $n_passed test(s)."
[ $n_skipped = 0 ] || echo "[  SKIPPED ] $n_skipped test(s)."
[ $n_failed = 0 ] || echo "[  FAILED  ] $n_failed test(s)."
[ $n_failed = 0 ]
