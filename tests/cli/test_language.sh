# The verbs that write: generate, caption, ask, chat, encode, match. What they write is compared in tests/golden and
# tests/live; here it is their forms, files and failures.
# shellcheck shell=sh disable=SC2154

llama=$models/llama-tiny
blip2=$models/blip2-opt-tiny

test_generate_prints_the_text_alone_and_json_has_its_tokens() {
    run_json "input" generate -m "$llama" --max-new-tokens 4 "a cat"
    want_status 0
    want_no_err
    want_values "a cat"
    grep -q '"tokens":\[' "$work/out" || fail "no tokens"
    grep -q '"score"' "$work/out" && fail "a score without beams"
    run_json "input" generate -m "$llama" --max-new-tokens 4 --beams 3 --n-best 2 "a cat"
    want_status 0
    want_out '"score":-.*"alternatives":\[{"text":'
}

test_generate_reads_the_prompt_from_stdin() {
    "$vlm_program" generate -m "$llama" --json "a cat" >"$work/wanted" </dev/null
    printf 'a cat\n' | "$vlm_program" generate -m "$llama" --json - >"$work/out" 2>"$work/err"
    status=$? command="vlm generate -"
    want_status 0
    sed 's/"input":"a cat"/"input":"-"/' "$work/wanted" | cmp -s - "$work/out" || fail "not what the argument gives"
}

test_settings_that_make_no_sense_are_wrong_usage() {
    run generate -m "$llama" --n-best 2 x
    want_usage "2 best of 1 beams"
    run generate -m "$llama" --min-length 30 x
    want_usage "min_new_tokens 30"
    run generate -m "$llama" --temperature warm x
    want_usage "'warm' is not a number"
    run generate -m "$llama" --early-stopping maybe x
    want_usage "not one of"
    run generate -m "$llama"
    want_usage "one prompt is wanted"
    run ask -m "$blip2" "$pictures/car.jpg"
    want_usage "a question"
    run match -m "$blip2" "$pictures/car.jpg"
    want_usage "give --text"
    run encode -m "$blip2" "$pictures/car.jpg"
    want_usage "-o FILE"
}

test_a_model_without_words_or_eyes_is_named() {
    run generate -m "$clip" "a cat"
    want_status 1
    want_no_out
    want_err "no language model"
    run match -m "$blip2" --text "a cat" "$pictures/car.jpg"
    want_status 1
    want_err "not a model for matching"
}

test_captions_name_the_picture_where_there_are_several() {
    run caption -m "$blip2" --max-new-tokens 3 "$pictures/car.jpg" nowhere.png "$pictures/puppy.png"
    want_status 1
    want_err "nowhere.png"
    [ "$(cut -f1 "$work/out")" = "$pictures/car.jpg
$pictures/puppy.png" ] || fail "not the two pictures in order"
    run_json "input" caption -m "$blip2" --max-new-tokens 3 nowhere.png
    want_status 1
    want_values nowhere.png
    want_out '"error":'
}

test_a_kept_picture_is_asked_like_the_picture() {
    run encode -m "$blip2" "$pictures/car.jpg" -o kept
    want_status 0
    want_files kept
    run ask -m "$blip2" --json "$pictures/car.jpg" "what is it?"
    sed 's/"input":"[^"]*"//' "$work/out" >"$work/first"
    run ask -m "$blip2" --json --encoded kept "what is it?"
    want_status 0
    sed 's/"input":"[^"]*"//' "$work/out" | cmp -s - "$work/first" || fail "another answer"
    run caption -m "$models/blip2-t5-tiny" --encoded kept
    want_status 1
    want_no_out
    want_err "encoded by another model"
    head -c 300 kept >cut
    run caption -m "$blip2" --encoded cut
    want_status 1
    want_no_out
    want_err "^vlm caption: cut: "
}

test_chat_answers_a_line_with_a_line() {
    printf 'what is it?\n\nand why?\n' | "$vlm_program" chat -m "$blip2" --max-new-tokens 5 --json "$pictures/car.jpg" >"$work/out" 2>"$work/err"
    status=$? command="vlm chat"
    want_status 0
    want_no_err
    "$json_lines" question <"$work/out" >"$work/values" || fail "not JSON lines"
    want_values "what is it?" "and why?"
}
