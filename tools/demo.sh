#!/bin/sh
# What the embedded model makes of drawings by an artist it never saw (examples/drawings, one PNG a concept, named
# after it): a similarity matrix and a classification, printed and drawn.
set -eu

vlm=${VLM:-build/vlm}
out=build/demo
mkdir -p "$out"

# The caption of a drawing is its file name: hot-air-balloon.png is "hot air balloon".
set --
labels=$out/labels.txt
: >"$labels"
for picture in examples/drawings/*.png; do
    [ -f "$picture" ] || { echo "demo: no drawings in examples/drawings" >&2; exit 1; }
    set -- "$@" "$picture"
    basename "$picture" .png | tr '_-' '  ' >>"$labels"
done

"$vlm" --version
echo
echo "Similarity of $# drawings and their names (drawn in $out/similarity.png):"
{
    while IFS= read -r label; do
        printf '%s\0%s\0' --text "$label"
    done <"$labels"
    for picture in "$@"; do printf '%s\0' "$picture"; done
} | xargs -0 "$vlm" similarity -o "$out/similarity.png"
echo
echo "Which of the $# names fits each drawing (the names are labels.txt, the three likeliest are shown):"
"$vlm" classify --labels-file "$labels" --top 3 "$@"
echo
echo "What the model sees of the first drawing: $out/pixels.png"
"$vlm" pixels "$1" -o "$out/pixels.png"
ls -l "$out"/*.png
