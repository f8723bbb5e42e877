# What the verbs print and write, on the small random models of tests/golden.

# bytes FILE OFFSET COUNT TYPE: values of a binary file on one line.
bytes() { od -An -v -t"$4" -j"$2" -N"$3" "$1" | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'; }
is_png() { [ "$(bytes "$1" 0 8 x1)" = "89 50 4e 47 0d 0a 1a 0a" ] || fail "$1 is no PNG"; }
npy_header() { head -c 128 "$1" | tail -c +11 | tr -d '\n' | sed 's/ *$//'; }
make_folder() {
    mkdir -p photos/deeper
    cp "$pictures/puppy.png" photos/b.png
    cp "$pictures/cat.jpg" photos/B.JPG
    cp "$pictures/car.jpg" photos/a.jpeg
    cp "$pictures/car.jpg" photos/no-extension
    cp "$pictures/car.jpg" photos/deeper/car.jpg
    cp "$pictures/car.jpg" photos/.hidden.jpg
    echo "notes" >photos/notes.txt
}

# ---- embed ---------------------------------------------------------------------------------------------

test_embed_prints_an_object_a_text_and_a_picture_texts_first() {
    run_json "input kind vector.#" embed -m "$clip" "$pictures/cat.jpg" --text "a cat" --text "a dog"
    want_status 0
    want_no_err
    want_values "a cat	text	20" "a dog	text	20" "$pictures/cat.jpg	image	20"
}

test_embed_gives_unit_vectors_and_raw_ones_in_the_same_direction() {
    run_json "vector" embed -m "$clip" --text "a cat" "$pictures/cat.jpg"
    want_status 0
    cp "$work/values" unit
    run_json "vector" embed -m "$clip" --raw --text "a cat" "$pictures/cat.jpg"
    paste -d' ' unit "$work/values" | tr -d '[]' | tr ',' ' ' | awk '{
        a = b = ab = 0; n = NF / 2
        for (i = 1; i <= n; i++) { a += $i * $i; b += $(i + n) * $(i + n); ab += $i * $(i + n) }
        if (n != 20 || a < 0.999999 || a > 1.000001 || (b > 0.99 && b < 1.01) || ab / sqrt(a * b) < 0.999999) bad = 1 }
        END { exit bad || NR != 2 }' ||
        fail "not unit, or raw in another direction"
}

test_embed_takes_a_folder_for_its_pictures_in_byte_order() {
    make_folder
    run_json "input" embed -m "$clip" photos
    want_status 0
    want_values photos/B.JPG photos/a.jpeg photos/b.png photos/no-extension
    run_json "input" embed -m "$clip" photos/ ./photos//
    want_values photos/B.JPG photos/a.jpeg photos/b.png photos/no-extension \
        ./photos/B.JPG ./photos/a.jpeg ./photos/b.png ./photos/no-extension
}

test_embed_names_a_folder_without_pictures() {
    mkdir empty
    run_json "input error" embed -m "$clip" empty --text cat
    want_status 1
    want_err "empty: there is no picture"
    [ "$(wc -l <"$work/out")" = 2 ] || fail "not two lines"
}

test_embed_reads_a_text_a_line_whatever_the_line_ends_and_keeps_empty_ones() {
    printf '\357\273\277a cat\r\n\r\n  two  words\n\nlast' >words
    run_json "input" embed -m "$clip" --text first --file words --text after
    want_status 0
    want_values first "a cat" "" "  two  words" "" last after
}

test_embed_reads_texts_from_stdin() {
    command="vlm embed --file -"
    printf 'one\ntwo\n' | "$vlm_program" embed -m "$clip" --file - --json >"$work/out" 2>"$work/err"
    status=$?
    want_status 0
    "$json_lines" input <"$work/out" >"$work/values"
    want_values one two
}

test_embed_of_an_empty_file_of_words_is_nothing() {
    : >words
    run embed -m "$clip" --file words --npy m.npy --json
    want_status 0
    want_no_out
    want_files words m.npy
    npy_header m.npy | grep -q "'shape': (0, 20)" || fail "not an empty matrix"
}

test_embed_names_a_bad_input_and_does_the_others() {
    make_folder
    head -c $(($(wc -c <"$pictures/car.jpg") / 2)) "$pictures/car.jpg" >photos/aa.jpg
    echo "no picture" >photos/text.png
    : >photos/zero.gif
    ln -s nowhere photos/link.jpg
    run_json "input kind" embed -m "$clip" missing.png photos --text cat --file missing.txt
    want_status 1
    want_values "missing.txt	-" "cat	text" "missing.png	-" "photos/B.JPG	image" "photos/a.jpeg	image" "photos/aa.jpg	-" \
        "photos/b.png	image" "photos/link.jpg	-" "photos/no-extension	image" "photos/text.png	-" "photos/zero.gif	-"
    for bad in missing.txt missing.png photos/aa.jpg photos/link.jpg photos/text.png photos/zero.gif; do
        want_err "$bad"
        grep -q "^{\"input\":\"$bad\",\"error\":\"[^\"]*\"}\$" "$work/out" || fail "no error object for $bad"
    done
    [ "$(wc -l <"$work/err")" = 6 ] || fail "stderr is not a line for each"
    run embed -m "$clip" missing.png photos/a.jpeg
    want_status 1
    [ "$(wc -l <"$work/out")" = 1 ] || fail "a line for a bad input without --json"
}

test_embed_numbers_read_back_as_the_same_float32_as_in_the_npy() {
    run embed -m "$clip" --text "a cat" --text dog "$pictures/puppy.png" "$pictures/cat.jpg" --raw --json --npy m.npy
    want_status 0
    "$json_lines" --floats vector <"$work/out" >floats || fail "not JSON"
    tail -c +129 m.npy >matrix
    cmp floats matrix || fail "the numbers differ"
    [ "$(bytes m.npy 0 10 x1)" = "93 4e 55 4d 50 59 01 00 76 00" ] || fail "no npy header"
    npy_header m.npy | grep -q "'descr': '<f4'.*'fortran_order': False.*'shape': (4, 20)" || fail "header: $(npy_header m.npy)"
    want_files m.npy floats matrix
}

test_embed_npy_alone_prints_no_lines() {
    run embed -m "$clip" --text "a cat" --npy m.npy
    want_status 0
    want_no_out
    [ "$(wc -c <m.npy)" = 208 ] || fail "m.npy is not 128 + 80 bytes"
}

test_embed_npy_has_rows_for_what_succeeded_and_says_so() {
    run embed -m "$clip" --text "a cat" missing.png "$pictures/puppy.png" --npy m.npy
    want_status 1
    want_err "2 rows"
    npy_header m.npy | grep -q "'shape': (2, 20)" || fail "header: $(npy_header m.npy)"
    run embed -m "$clip" missing.png --npy none.npy
    want_status 1
    want_files m.npy
}

test_embed_gives_the_same_bytes_for_any_batch_and_number_of_threads() {
    mkdir many
    i=100
    while [ $i -lt 170 ]; do
        case $((i % 3)) in 0) from=puppy.png ;; 1) from=cat.jpg ;; *) from=car.jpg ;; esac
        ln -s "$pictures/$from" "many/$i.png"
        i=$((i + 1))
    done
    run embed -m "$clip" many --json --threads 3
    want_status 0
    [ "$(wc -l <"$work/out")" = 70 ] || fail "not 70 lines"
    cp "$work/out" three
    run embed -m "$clip" many --json --threads 1
    cmp -s three "$work/out" || fail "one thread gives other bytes than three"
    run embed -m "$clip" many/133.png --json
    grep -qxF "$(cat "$work/out")" three || fail "alone it has another vector than in a batch"
}

test_embed_cuts_a_long_text_and_warns() {
    words="word word word word word word word word word word word word word word word word word word word word"
    run_json "kind" embed -m "$clip" --text "$words" --text short
    want_status 0
    want_values text text
    want_err "longer than the 16 tokens"
    [ "$(wc -l <"$work/err")" = 1 ] || fail "not one warning"
}

test_embed_shows_any_file_name_as_valid_json() {
    name=$(printf 'a"b\\c\n\t\377\342\202.png')
    cp "$pictures/puppy.png" "./$name"
    run_json "input kind" embed -m "$clip" "$name"
    want_status 0
    printf 'a"b\\c\n\t\357\277\275\357\277\275.png\timage\n' >wanted
    cmp -s wanted "$work/values" || fail "the name is: $(cat "$work/values")"
    run embed -m "$clip" "$name"
    [ "$(wc -l <"$work/out")" = 1 ] || fail "the name breaks the line for people"
}

test_embed_with_a_vit_needs_no_text_tower() {
    run_json "kind vector.#" embed -m "$vit" "$pictures/puppy.png"
    want_status 0
    want_values "image	36"
    run embed -m "$vit" --text cat
    want_status 1
    want_no_out
}

test_embed_leaves_nothing_half_written_on_a_full_disk() {
    mkdir small
    mount -t tmpfs -o size=64k tmpfs small 2>/dev/null || skip "no right to mount a small disk here"
    i=0
    while [ $i -lt 2000 ]; do echo "word $i"; i=$((i + 1)); done >words
    echo old >small/m.npy
    run embed -m "$clip" --file words --npy small/m.npy
    held=$(ls -A small)
    content=$(cat small/m.npy)
    umount small
    want_status 1
    want_err "m.npy"
    want_err "No space left\|disk full"
    [ "$held" = m.npy ] || fail "left behind: $held"
    [ "$content" = old ] || fail "the file was changed"
}

# ---- similarity ------------------------------------------------------------------------------------------

test_similarity_is_the_cosines_of_the_vectors() {
    run_json "vector" embed -m "$clip" --text "a cat" --text "a red car" "$pictures/puppy.png" "$pictures/cat.jpg" "$pictures/car.jpg"
    cp "$work/values" vectors
    run_json "images.# texts.# cosine" similarity -m "$clip" --text "a cat" --text "a red car" "$pictures/puppy.png" "$pictures/cat.jpg" "$pictures/car.jpg"
    want_status 0
    { cat vectors; cat "$work/values"; } | tr -d '[]' | tr ',\t' '  ' | awk '
        NR <= 5 { for (i = 1; i <= 20; i++) v[NR, i] = $i }
        NR == 6 {
            if ($1 != 3 || $2 != 2 || NF != 8) exit 1
            for (p = 0; p < 3; p++) for (t = 0; t < 2; t++) {
                sum = 0
                for (i = 1; i <= 20; i++) sum += v[3 + p, i] * v[1 + t, i]
                d = sum - $(3 + 2 * p + t)
                if (d > 1e-6 || d < -1e-6) exit 1
            }
            found = 1
        }
        END { exit !found }' || fail "rows of images are not their cosines"
}

test_similarity_draws_png_and_svg() {
    for kind in png SVG; do
        run similarity -m "$clip" --text "a cat" --text "$(printf 'two\n<&> words \377')" "$pictures/puppy.png" "$pictures/cat.jpg" -o "matrix.$kind"
        want_status 0
        want_out "puppy.png  cat.jpg"
        want_no_err
    done
    is_png matrix.png
    head -c 5 matrix.SVG | grep -q '<?xml' || fail "no SVG"
    want_files matrix.png matrix.SVG
}

test_similarity_leaves_bad_pictures_out() {
    run_json "images.# texts.# input" similarity -m "$clip" --text cat missing.png "$pictures/puppy.png" --json
    want_status 1
    want_values "-	-	missing.png" "1	1	-"
    run similarity -m "$clip" --text cat missing.png -o m.png
    want_status 1
    want_no_out
    want_files
}

test_similarity_refuses_other_kinds_of_files() {
    run similarity -m "$clip" --text cat "$pictures/puppy.png" -o m.jpg
    want_usage "m.jpg"
}

test_similarity_says_when_the_picture_cannot_be_written() {
    run similarity -m "$clip" --text cat "$pictures/puppy.png" -o no/such/folder.png
    want_status 1
    want_err "no/such/folder.png"
}

# ---- classify --------------------------------------------------------------------------------------------

# Every line of $work/out: probabilities fall and sum to 1.
want_probabilities() {
    "$json_lines" labels <"$work/out" | sed 's/"probability":/\n/g' | awk -F'[,}]' '
        /^\[/ { if (NR > 1 && (sum < 0.9999 || sum > 1.0001)) exit 1; sum = 0; last = 2; next }
        { if ($1 > last) exit 1; last = $1; sum += $1 }
        END { if (sum < 0.9999 || sum > 1.0001) exit 1 }' || fail "probabilities do not fall or do not sum to 1"
}

test_classify_gives_probabilities_likeliest_first() {
    run_json "input labels.#" classify -m "$clip" --labels " a cat,dog ,, a red car" "$pictures/puppy.png" "$pictures/cat.jpg"
    want_status 0
    want_values "$pictures/puppy.png	3" "$pictures/cat.jpg	3"
    want_out '"label":"a cat"'
    want_out '"label":"dog"'
    want_out '"label":"a red car"'
    want_probabilities
}

test_classify_is_the_softmax_of_the_scaled_cosines() {
    run_json "logit_scale" inspect -m "$clip"
    cp "$work/values" wanted_of
    run_json "cosine" similarity -m "$clip" --text cat --text "a dog" "$pictures/cat.jpg"
    cat "$work/values" >>wanted_of
    run_json "labels.0.label labels.0.probability" classify -m "$clip" --labels "cat,a dog" "$pictures/cat.jpg"
    cat "$work/values" >>wanted_of
    tr -d '[]' <wanted_of | tr ',' '\t' | awk -F'\t' '
        NR == 1 { scale = $1 }
        NR == 2 { p = 1 / (1 + exp(scale * ($2 - $1))); best = p > 0.5 ? "cat" : "a dog"; if (p < 0.5) p = 1 - p }
        NR == 3 { d = p - $2; found = $1 == best && d < 1e-5 && d > -1e-5 }
        END { exit !found }' || fail "not the softmax: $(cat wanted_of)"
}

test_classify_with_templates_takes_the_mean_of_the_unit_vectors() {
    run_json "vector" embed -m "$clip" --text "a cat" --text "cat, cat" --text "a dog" --text "dog, dog" "$pictures/cat.jpg"
    cp "$work/values" vectors
    run_json "logit_scale" inspect -m "$clip"
    cat "$work/values" >>vectors
    run_json "labels.0.label labels.0.probability" classify -m "$clip" --labels "cat,dog" --template "a {}" --template "{}, {}" "$pictures/cat.jpg"
    cat "$work/values" >>vectors
    tr -d '[]' <vectors | tr ',\t' '  ' | awk '
        NR <= 5 { for (i = 1; i <= 20; i++) v[NR, i] = $i }
        NR == 6 { scale = $1 }
        NR == 7 {
            for (k = 0; k < 2; k++) {
                dot[k] = norm = 0
                for (i = 1; i <= 20; i++) { m = v[2 * k + 1, i] + v[2 * k + 2, i]; norm += m * m; dot[k] += m * v[5, i] }
                dot[k] /= sqrt(norm)
            }
            p = 1 / (1 + exp(scale * (dot[1] - dot[0]))); best = p > 0.5 ? "cat" : "dog"; if (p < 0.5) p = 1 - p
            d = p - $2; found = $1 == best && d < 1e-5 && d > -1e-5
        }
        END { exit !found }' || fail "not the mean of the templates"
}

test_classify_prints_the_top_k() {
    run_json "labels.#" classify -m "$clip" --labels a,b,c,d --top 2 "$pictures/puppy.png"
    want_values 2
    run_json "labels.#" classify -m "$clip" --labels a,b,c,d --top 9 "$pictures/puppy.png"
    want_values 4
}

test_classify_reads_labels_from_a_file() {
    printf 'a cat\r\n\n  dog  \nlast' >labels
    run_json "labels.#" classify -m "$clip" --labels-file labels "$pictures/puppy.png"
    want_values 3
    want_out '"label":"dog"'
}

test_classify_with_a_vit_uses_its_own_labels() {
    run_json "labels.#" classify -m "$vit" "$pictures/puppy.png"
    want_status 0
    want_probabilities
    n=$(grep -c . "$work/values")
    [ "$n" = 1 ] || fail "not one line"
    [ "$(cat "$work/values")" -gt 1 ] || fail "no labels"
}

test_classify_refuses_what_makes_no_sense() {
    run classify -m "$clip" "$pictures/puppy.png"
    want_usage "give --labels"
    run classify --labels a,b --labels-file f "$pictures/puppy.png"
    want_usage "exclude each other"
    run classify --labels a,b --template "a photo" "$pictures/puppy.png"
    want_usage "{}"
    run classify --labels " , ," "$pictures/puppy.png"
    want_usage "no label"
    run classify --labels a,b "$pictures/puppy.png" -o m.png
    want_usage "--eval"
    run classify --labels a,b --eval . "$pictures/puppy.png"
    want_usage "--eval"
}

test_classify_eval_counts_what_it_was_and_what_it_was_taken_for() {
    mkdir -p set/puppy set/cat set/car
    for name in puppy cat car; do
        cp "$pictures/$name".* set/$name/
        cp "$pictures/cat.jpg" set/$name/again.jpg
    done
    echo "not a folder" >set/readme.txt
    run_json "pictures failed labels confusion accuracy top5" classify -m "$clip" --eval set -o confusion.png
    want_status 0
    tr '\t' '\n' <"$work/values" >lines
    [ "$(sed -n 1,2p lines | tr '\n' ' ')" = "6 0 " ] || fail "not 6 pictures"
    [ "$(sed -n 3p lines)" = '["car","cat","puppy"]' ] || fail "labels: $(sed -n 3p lines)"
    sed -n '4,6p' lines | tr -d '[]' | tr ',\n' '  ' | awk '{
        for (r = 0; r < 3; r++) if ($(3 * r + 1) + $(3 * r + 2) + $(3 * r + 3) != 2) exit 1
        d = ($1 + $5 + $9) / 6 - $10
        if (d > 1e-6 || d < -1e-6 || $11 != 1) exit 1 }' || fail "rows do not sum to their pictures, or accuracy is another: $(cat lines)"
    is_png confusion.png
    run classify -m "$clip" --eval set
    want_out "accuracy"
    want_out "was .* taken for"
}

test_classify_eval_wants_folders_named_as_labels() {
    mkdir -p set/cat set/unknown
    cp "$pictures/cat.jpg" set/cat/
    cp "$pictures/cat.jpg" set/unknown/
    run classify -m "$clip" --labels cat,dog --eval set
    want_status 1
    want_err "set/unknown"
    mkdir nothing
    run classify -m "$clip" --eval nothing
    want_status 1
    want_err "nothing"
}

# ---- tokenize ---------------------------------------------------------------------------------------------

test_tokenize_gives_ids_and_tokens_neither_cut_nor_padded() {
    run_json "text ids.# tokens.#" tokenize -m "$clip" "a cat" ""
    want_status 0
    a=$(sed -n 1p "$work/values")
    b=$(sed -n 2p "$work/values")
    [ "$b" = "	2	2" ] || fail "an empty text is not its two special tokens"
    case $a in "a cat	"*) ;; *) fail "the text is another" ;; esac
    long=$(printf 'word %.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)
    run_json "ids.#" tokenize -m "$clip" "$long"
    [ "$(cat "$work/values")" -gt 16 ] || fail "the text was cut"
}

test_tokenize_keeps_the_order_of_texts_and_files() {
    printf 'one\ntwo' >words
    run_json "text" tokenize -m "$clip" first --file words last
    want_values first one two last
}

test_tokenize_needs_only_the_files_of_a_tokenizer() {
    mkdir tokenizer
    cp "$clip"/tokenizer* tokenizer/
    run tokenize -m "$clip" "a cat" --json
    cp "$work/out" wanted
    run tokenize -m tokenizer "a cat" --json
    want_status 0
    cmp -s wanted "$work/out" || fail "other ids than from the whole model"
}

test_tokenize_shows_people_a_row_a_token() {
    run_json "ids.#" tokenize -m "$clip" "a cat"
    n=$(cat "$work/values")
    run tokenize -m "$clip" "a cat"
    [ "$(wc -l <"$work/out")" = $((n + 1)) ] || fail "not the text and a row a token"
}

# ---- pixels -----------------------------------------------------------------------------------------------

test_pixels_writes_float32_of_the_models_size() {
    run_json "shape output" pixels -m "$clip" "$pictures/puppy.png" -o seen.npy
    want_status 0
    want_values "[3,30,30]	seen.npy"
    npy_header seen.npy | grep -q "'descr': '<f4'.*'shape': (3, 30, 30)" || fail "header: $(npy_header seen.npy)"
    [ "$(wc -c <seen.npy)" = $((128 + 4 * 3 * 30 * 30)) ] || fail "not 3 x 30 x 30 float32"
}

test_pixels_needs_only_the_preprocessors_file() {
    mkdir only
    cp "$clip/preprocessor_config.json" only/
    run pixels -m "$clip" "$pictures/cat.jpg" -o whole.npy
    run pixels -m only "$pictures/cat.jpg" -o only.npy
    want_status 0
    cmp whole.npy only.npy || fail "other pixels than from the whole model"
}

test_pixels_as_a_picture_are_seen_again_as_the_same_pixels() {
    run pixels -m "$clip" "$pictures/car.jpg" -o seen.png
    want_status 0
    is_png seen.png
    run pixels -m "$clip" "$pictures/car.jpg" -o first.npy
    run pixels -m "$clip" seen.png -o again.npy
    cmp first.npy again.npy || fail "the picture is not what the model saw"
}

test_pixels_refuses_what_makes_no_sense() {
    run pixels -m "$clip" "$pictures/puppy.png"
    want_usage "-o"
    run pixels -m "$clip" "$pictures/puppy.png" -o seen.jpg
    want_usage "seen.jpg"
    run pixels -m "$clip" a.png b.png -o seen.png
    want_usage "one picture"
}

test_pixels_of_a_bad_picture_leave_no_file() {
    echo "no picture" >bad.png
    run_json "input" pixels -m "$clip" bad.png -o seen.png
    want_status 1
    want_values bad.png
    want_files bad.png
}

# ---- inspect ----------------------------------------------------------------------------------------------

test_inspect_counts_the_parameters_that_the_reference_counts() {
    for model in "$models"/*; do
        [ -f "$model/reference/stages.safetensors" ] || continue # language models have tokens to compare instead
        tr -d '\n' <"$model/reference/reference.json" | sed 's/$/\n/' >line
        echo >>line
        sed -i '/^$/d' line
        "$json_lines" parameters <line >wanted
        run_json "parameters" inspect -m "$model"
        want_status 0
        cmp -s wanted "$work/values" || fail "$model: $(cat "$work/values") parameters, the reference counts $(cat wanted)"
    done
}

test_inspect_prints_one_object_and_a_tree() {
    run_json "family layout dtype embedding_size structure.# structure.0.parameters structure.0.children.0.name" inspect -m "$clip"
    want_status 0
    [ "$(wc -l <"$work/out")" = 1 ] || fail "not one object"
    grep -q "^clip	transformers	f32	20	1	37800	" "$work/values" || fail "$(cat "$work/values")"
    run inspect -m "$clip"
    want_out "37,800"
    want_out "\[574, 20\]"
    want_out "2 alike"
}

test_inspect_of_a_tokenizer_or_a_preprocessor_alone_works() {
    mkdir tokenizer pixels
    cp "$clip"/tokenizer* tokenizer/
    cp "$clip"/preprocessor_config.json pixels/
    for folder in tokenizer pixels; do
        run_json "parameters parts" inspect -m $folder
        want_status 0
        want_values "0	[\"$folder\"]"
        run inspect -m $folder
        want_status 0
    done
}

# ---- search -----------------------------------------------------------------------------------------------

test_search_ranks_the_pictures_of_a_folder() {
    make_folder
    run_json "input score" search -m "$clip" "a cat" photos
    want_status 0
    [ "$(wc -l <"$work/values")" = 4 ] || fail "not 4 pictures"
    awk -F'\t' 'NR > 1 && $2 > last { exit 1 } { last = $2 }' "$work/values" || fail "not best first"
    run_json "input" search -m "$clip" "a cat" photos/ --top 2
    [ "$(wc -l <"$work/values")" = 2 ] || fail "not the top 2"
}

test_search_by_a_picture_finds_the_picture_first() {
    make_folder
    run_json "input score" search -m "$clip" photos/b.png photos --top 1
    want_status 0
    awk -F'\t' '{ exit !($1 == "photos/b.png" && $2 > 0.99999 && $2 < 1.00001) }' "$work/values" || fail "$(cat "$work/values")"
    run_json "input score" search -m "$vit" photos/b.png photos --top 1
    want_status 0
}

test_search_names_bad_pictures_and_ranks_the_others() {
    make_folder
    echo bad >photos/bad.png
    run search -m "$clip" "a cat" photos --json
    want_status 1
    want_err "photos/bad.png"
    [ "$(grep -c score "$work/out")" = 4 ] || fail "not 4 ranked"
    run search -m "$clip" "a cat" nowhere
    want_status 1
    want_err "nowhere"
    run search -m "$clip" "a cat"
    want_usage "folder"
}

# ---- bench, verify ----------------------------------------------------------------------------------------

test_bench_times_every_part() {
    for part in vision text train; do
        run_json "part batch threads dtype runs seconds_min seconds_median" bench -m "$clip" --part $part --batch 3 --threads 2 --seconds 0.05
        want_status 0
        awk -F'\t' -v part=$part '{ exit !($1 == part && $2 == 3 && $3 == 2 && $4 == "f32" && $5 >= 3 && $6 > 0 && $7 >= $6) }' "$work/values" ||
            fail "$(cat "$work/values")"
    done
    want_out '"isa":"'
}

test_bench_of_text_needs_no_tokenizer() {
    mkdir bare
    cp "$clip/config.json" "$clip/model.safetensors" bare/
    for part in vision text; do
        run bench -m bare --part $part --seconds 0.01
        want_status 0
        want_out "^$part, batch 1, "
    done
}

test_verify_agrees_with_the_reference_for_every_golden_model() {
    for model in "$models"/*; do
        [ -f "$model/reference/stages.safetensors" ] || continue
        run_json "stage ok" verify -m "$model"
        want_status 0
        want_no_err
        grep -q "	true$" "$work/values" || fail "nothing was compared"
        ! grep -q "	false$" "$work/values" || fail "a stage differs"
    done
}

test_verify_notices_what_differs() {
    run verify -m "$clip" --reference "$models/clip-tiny-gelu-bin/reference"
    want_status 1
    want_err "the first is"
    cp -r "$clip" mine
    chmod -R u+w mine
    # the last bytes of the file belong to some tensor: make one number 2^124
    size=$(wc -c <mine/reference/stages.safetensors)
    printf '\000\000\200\175' | dd of=mine/reference/stages.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
    run verify -m mine
    want_status 1
    want_out "DIFFERS"
}

test_verify_without_a_dump_says_who_writes_it() {
    mkdir mine
    cp "$clip"/*.json "$clip"/*.safetensors mine/
    run verify -m mine
    want_status 1
    want_err "dump_reference.py"
}
