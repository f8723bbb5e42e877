#!/bin/sh
# What the embedded model makes of drawings by an artist it never saw (examples/drawings): a similarity matrix and
# a classification, printed and drawn. `make demo` builds the program first.
set -eu

vlm=${VLM:-build/vlm}
out=build/demo
drawings=examples/drawings
mkdir -p "$out"
[ -x "$vlm" ] || { echo "demo: $vlm is not there; 'make demo' builds it" >&2; exit 1; }
[ -n "$(ls $drawings/*.png 2>/dev/null)" ] || { echo "demo: no drawings in $drawings" >&2; exit 1; }

"$vlm" --version
cat <<'END'

The model inside this program learned words and pictures from emoji by several artists. These drawings are by
another one, EmojiOne 2, whom it never saw (examples/README.md).

1. How near are five drawings and five texts? The matching pairs stand on the diagonal, and should be the
   largest of their row and of their column.

END
"$vlm" similarity --text "a penguin" --text "a hamburger" --text "a guitar" --text "a rocket" --text "a sunflower" \
    -o "$out/similarity.png" $drawings/penguin.png $drawings/hamburger.png $drawings/guitar.png $drawings/rocket.png $drawings/sunflower.png
cat <<'END'

2. What is in each drawing? The program chooses among the names of all dozen; the first line under a file should
   be the file's own name.

END
labels=$out/labels.txt
for picture in $drawings/*.png; do
    basename "$picture" .png | tr '-' ' '
done >"$labels"
"$vlm" classify --labels-file "$labels" --template "{}" --template "a picture of a {}" --top 3 $drawings/*.png

# A folder for each drawing, named as its label, is what --eval measures on.
rm -rf "$out/classes"
for picture in $drawings/*.png; do
    name=$(basename "$picture" .png | tr '-' ' ')
    mkdir -p "$out/classes/$name"
    cp "$picture" "$out/classes/$name/"
done
echo
"$vlm" classify --labels-file "$labels" --eval "$out/classes" -o "$out/classification.png"

cat <<END

Drawn: $out/similarity.png (the matrix, drawings above, texts left) and $out/classification.png (what was taken
for what). How well the model does on 223 drawings of this artist, and where it fails: docs/embedded-clip.md.
END
