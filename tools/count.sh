#!/bin/sh
# Add up the "passed failed skipped" files of a folder; prints "N passed, N failed, N skipped".
# Usage: count.sh FOLDER
cat "$1"/* 2>/dev/null | awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s }'
