#!/bin/sh
# Train the model that the library carries, from nothing: `make embedded`.
# Fetches the drawings, renders them, trains, measures, and puts the weights where the build takes them.
# Every step is skipped when its result is there, and training goes on from its last checkpoint: run it again
# after a stop. Everything but the result lies in build/embedded-clip.
#
#   STEPS=n    length of the run (the config's otherwise)
#   SECONDS_MOST=n  stop after so many seconds with a checkpoint, without measuring; run again to go on
set -eu

cd "$(dirname "$0")/../.."
recipe=recipes/embedded-clip
work=build/embedded-clip
mkdir -p $work/packages $work/bin

# --- what is needed beside the program ------------------------------------------------------------------
sh tools/install_deps.sh build
need=
pkg-config --exists librsvg-2.0 || need="$need librsvg2-dev"
command -v npm >/dev/null || need="$need npm"
if [ -n "$need" ]; then
    echo "installing$need" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null
fi
make all

# --- the drawings' packages, each with its exact version; NOTICE names their licences ----------------------
fetch_npm() { # folder, package, version
    [ -e "$work/packages/$1/package.json" ] && return
    echo "fetching $2 $3" >&2
    rm -rf "$work/packages/$1.partial"
    mkdir -p "$work/packages/$1.partial"
    (cd "$work/packages/$1.partial" && npm pack --silent "$2@$3" >/dev/null && tar xzf ./*.tgz --strip-components=1 && rm -f ./*.tgz)
    mv "$work/packages/$1.partial" "$work/packages/$1"
}
fetch_npm noto @iconify-json/noto 1.2.9
fetch_npm noto-v1 @iconify-json/noto-v1 1.2.5
fetch_npm fluent-emoji-flat @iconify-json/fluent-emoji-flat 1.2.6
fetch_npm fluent-emoji-3d @lobehub/fluent-emoji-3d 1.1.0
fetch_npm fxemoji @iconify-json/fxemoji 1.2.2
fetch_npm emojione @iconify-json/emojione 1.2.3
fetch_npm emojilib emojilib 4.0.3
if [ ! -e $work/packages/openclipart ]; then
    echo "fetching openclipart-svg" >&2
    rm -rf $work/packages/openclipart.partial
    mkdir -p $work/packages/openclipart.partial
    (cd $work/packages/openclipart.partial && apt-get download -qq openclipart-svg && dpkg-deb -x ./*.deb . && rm -f ./*.deb)
    mv $work/packages/openclipart.partial $work/packages/openclipart
fi

# --- drawings ---------------------------------------------------------------------------------------------
tool() { # name, packages
    if [ ! -x "$work/bin/$1" ] || [ "$recipe/$1.c" -nt "$work/bin/$1" ] || [ build/libvlm.a -nt "$work/bin/$1" ]; then
        cc -std=gnu11 -O2 -Wall -Wextra -D_POSIX_C_SOURCE=200809L -Iinclude -Isrc -o "$work/bin/$1" "$recipe/$1.c" build/libvlm.a \
            $(pkg-config --cflags --libs ${2:-} jansson libpcre2-8 libutf8proc libzip zlib libjpeg libpng libwebp libwebpdemux libtiff-4 cairo) -lgif -lm -lpthread
    fi
}
tool drawings librsvg-2.0
tool evaluate
tool shrink
drawings=$work/drawings
p=$work/packages
if [ ! -e $drawings/drawings.tsv ]; then
    $work/bin/drawings $recipe/concepts.tsv $recipe/joins.tsv $p/emojilib/dist/emoji-en-US.json 96 $drawings \
        noto=$p/noto noto-v1=$p/noto-v1 fluent-emoji-flat=$p/fluent-emoji-flat fluent-emoji-3d=$p/fluent-emoji-3d/assets \
        fxemoji=$p/fxemoji openclipart=$p/openclipart/usr/share/openclipart/svg emojione=$p/emojione
    cp $recipe/NOTICE $drawings/
fi

# --- training ---------------------------------------------------------------------------------------------
run=$work/run
command="vlm train clip --data $drawings --config $recipe/config.json -o $run --resume${STEPS:+ --steps $STEPS}"
build/vlm train clip --data $drawings --config $recipe/config.json -o $run --resume ${STEPS:+--steps $STEPS} ${SECONDS_MOST:+--max-seconds $SECONDS_MOST}
done_steps=$(sed -n 's/.*"step": *\([0-9]*\).*/\1/p' $run/state.json)
all_steps=$(sed -n 's/.*"steps": *\([0-9]*\).*/\1/p' $run/state.json)
if [ "$done_steps" -lt "$all_steps" ]; then
    echo "stopped at step $done_steps of $all_steps; run it again to go on" >&2
    exit 0
fi

# --- the result -------------------------------------------------------------------------------------------
mkdir -p models/embedded-clip
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
$work/bin/shrink $run models/embedded-clip "commit=$commit" "command=$command"
$work/bin/evaluate models/embedded-clip $drawings $recipe/test-concepts.txt $work/results.json | tee $work/results.md
ls -l models/embedded-clip
echo "the figures are in $work/results.md; docs/embedded-clip.md takes them from there" >&2
