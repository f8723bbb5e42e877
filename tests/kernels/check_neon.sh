#!/bin/sh
# Compile the kernels and their harness for AArch64 and run them in an emulator: the NEON row of isa.def on a machine
# that has none. Exit 77 (ctest: skipped) when the cross compiler or the emulator is absent.
#   check_neon.sh SOURCE_FOLDER BUILD_FOLDER
set -eu
source_folder=${1:?the source folder} build=${2:?a folder for the objects}/neon
compiler=${VLM_AARCH64_CC:-aarch64-linux-gnu-gcc}
emulator=
for candidate in qemu-aarch64 qemu-aarch64-static; do
    if command -v "$candidate" >/dev/null; then emulator=$candidate; fi
done
if ! command -v "$compiler" >/dev/null; then
    echo "SKIPPED: no $compiler (Debian: gcc-aarch64-linux-gnu)"
    exit 77
fi
if [ -z "$emulator" ]; then
    echo "SKIPPED: no qemu-aarch64 (Debian: qemu-user)"
    exit 77
fi
mkdir -p "$build"
cd "$source_folder"
compile="$compiler -std=c11 -O2 -g -Wall -Wextra -Werror -D_POSIX_C_SOURCE=200809L -Iinclude -Isrc"
# A row's flags stand at its end in isa.def.
row_flags() {
    sed -n "s/^VLM_ISA($1, .*, \([^,]*\))\$/\1/p" src/kernels/isa.def
}
objects=
compile_row() { # name folder
    for source in src/kernels/"$2"/*.c; do
        object=$build/$1_$(basename "$source" .c).o
        # shellcheck disable=SC2046 # flags are words
        $compile $(row_flags "$1") -c "$source" -o "$object"
        objects="$objects $object"
    done
}
compile_row c ref
compile_row neon arm/neon
# shellcheck disable=SC2086 # objects and flags are words
$compile -static -DVLM_HAVE_ISA_c=1 -DVLM_HAVE_ISA_neon=1 src/kernels/kernels.c src/kernels/cpu.c src/base/dtype.c \
    tests/kernels/test_kernels.c $objects -lm -lpthread -o "$build/test_kernels"
exec "$emulator" "$build/test_kernels"
