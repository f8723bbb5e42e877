#!/bin/sh
# Includes point down the tree, and the shared library exports include/vlm alone.
# usage: check_structure.sh SOURCE_FOLDER [LIBVLM_SO]
set -u
cd "$1" || exit 1
failed=0

# The folders that a file of the first may include from.
allowed() {
    case "$1" in
    base) echo "base" ;;
    formats) echo "formats base" ;;
    tokens) echo "tokens formats base" ;;
    kernels) echo "kernels base" ;;
    layers) echo "layers kernels base" ;;
    models) echo "models layers kernels tokens formats base" ;;
    pipeline | train) echo "pipeline train models layers kernels tokens formats base" ;;
    esac
}

for folder in base formats tokens kernels layers models pipeline train; do
    [ -d "src/$folder" ] || continue
    list=" $(allowed $folder) "
    for file in $(find "src/$folder" -name '*.[ch]'); do
        for part in $(sed -n 's/^#include "\([a-z_]*\)\/.*/\1/p' "$file" | sort -u); do
            case "$part" in vlm | arm | x86 | ref) continue ;; esac
            case "$list" in
            *" $part "*) ;;
            *)
                echo "$file includes from $part/: $folder may include from:$list"
                failed=1
                ;;
            esac
        done
    done
done

if [ $# -gt 1 ]; then
    stray=$(nm -D --defined-only "$2" | awk '{print $3}' | grep -v '^vlm_' | grep -v '^_init$\|^_fini$')
    [ -z "$stray" ] || { echo "exported beside vlm_*: $stray"; failed=1; }
    for symbol in $(nm -D --defined-only "$2" | awk '{print $3}' | grep '^vlm_'); do
        grep -q "\b$symbol\b" include/vlm/*.h || { echo "exported but not in include/vlm: $symbol"; failed=1; }
    done
fi
[ $failed = 0 ] && echo "structure: includes point down, exports are include/vlm's"
exit $failed
