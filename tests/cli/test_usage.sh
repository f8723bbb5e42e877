# The command line itself: verbs, options, help, and what wrong usage says.

verbs="embed similarity classify search tokenize pixels inspect bench verify train"

test_vlm_alone_tells_what_to_do_next() {
    run
    want_status 0
    want_out "vlm classify"
    want_out "help VERB"
    want_no_err
}

test_version_names_the_version_and_the_isa() {
    run --version
    want_status 0
    grep -Eq '^vlm [0-9]+\.[0-9]+\.[0-9]+ \([a-z0-9]+\)$' "$work/out" || fail "no version and ISA"
}

test_version_names_the_isa_that_the_environment_asks_for() {
    export VLM_ISA=c
    run --version
    want_out "(c)"
}

test_every_verb_has_a_help_page_with_an_example() {
    for verb in $verbs; do
        run $verb --help
        want_status 0
        want_no_err
        want_out "^Examples$"
        want_out "^  vlm $verb "
        cp "$work/out" page
        run help $verb
        cmp -s page "$work/out" || fail "help $verb is another page"
    done
}

test_help_lists_every_verb() {
    run help
    for verb in $verbs; do
        want_out "^  $verb  *[a-zA-Z]"
    done
}

test_no_help_page_is_wider_than_a_terminal() {
    for verb in $verbs; do
        run $verb --help
        want_status 0
        sed '/^Examples$/,$d; /^Usage$/,/^$/d' "$work/out" >prose
        [ -z "$(grep '.\{81\}' prose)" ] || fail "wide lines: $(grep '.\{81\}' prose)"
    done
}

test_an_unknown_verb_is_wrong_usage_and_the_nearest_is_named() {
    run simlarity
    want_usage "'similarity' meant"
    run zzzzzzzzz
    want_usage "no verb 'zzzzzzzzz'"
}

test_an_option_before_the_verb_is_wrong_usage() {
    run --json embed
    want_usage "before the verb"
}

test_an_unknown_option_is_wrong_usage_and_the_nearest_is_named() {
    run embed --txt cat
    want_usage "is --text meant"
    run embed -x
    want_usage "no option -x"
}

test_an_option_without_its_value_is_wrong_usage() {
    run embed --text
    want_usage "--text wants a value"
    run pixels picture.png -o
    want_usage "-o wants a value"
}

test_a_flag_with_a_value_is_wrong_usage() {
    run embed --raw=yes --text cat
    want_usage "--raw takes no value"
}

test_values_outside_their_range_are_wrong_usage() {
    for wrong in --threads=0 --threads=-1 --threads=two --threads= --threads=99999999999999999999 --dtype=f64 --dtype= "--dtype=f32 f16"; do
        run embed "$wrong" --text cat
        want_usage "$(echo "$wrong" | sed 's/=.*//')"
    done
    run classify --labels a,b --top 0 x.png
    want_usage "--top"
    for wrong in -1 nan inf 1x; do
        run bench --seconds $wrong
        want_usage "--seconds"
    done
}

test_verbs_without_input_are_wrong_usage() {
    for verb in embed tokenize search similarity classify pixels train; do
        run $verb
        want_status 2
        want_no_out
        want_err "^Try: vlm $verb --help"
    done
}

test_values_may_stand_after_an_equals_sign_or_as_the_next_word() {
    run tokenize -m "$clip" --json "a cat"
    cp "$work/out" wanted
    for form in "-m$clip" "--model=$clip"; do
        run tokenize --json "$form" "a cat"
        want_status 0
        cmp -s wanted "$work/out" || fail "$form differs"
    done
}

test_options_may_stand_after_arguments() {
    run tokenize "a cat" -m "$clip" "a dog" --json
    want_status 0
    [ "$(wc -l <"$work/out")" = 2 ] || fail "not two lines"
}

test_two_dashes_end_the_options() {
    run tokenize -m "$clip" --json -- --json -m --
    want_status 0
    "$json_lines" text <"$work/out" >"$work/values"
    want_values --json -m --
}

test_the_value_of_an_option_may_begin_with_a_dash() {
    run_json "input" embed -m "$clip" --text --json --text -x
    want_status 0
    want_values --json -x
}

test_a_model_that_is_not_there_is_named() {
    run embed -m ./no/such/model --text cat
    want_status 1
    want_no_out
    want_err "no/such/model"
}

test_control_characters_in_messages_are_made_visible() {
    run embed -m "$(printf 'no\033[31msuch')" --text cat
    want_status 1
    [ "$(tr -d '\n' <"$work/err" | tr -d '\40-\176' | wc -c)" = 0 ] || fail "stderr holds control characters"
}

test_a_full_disk_on_stdout_is_an_error() {
    [ -c /dev/full ] || skip "there is no /dev/full"
    for words in "help" "--version" "tokenize -m $clip cat --json" "embed -m $clip --text cat --json" "inspect -m $clip"; do
        command="vlm $words >/dev/full"
        # shellcheck disable=SC2086
        "$vlm_program" $words >/dev/full 2>"$work/err"
        status=$?
        want_status 1
        want_err "cannot write to stdout: No space left"
        [ "$(wc -l <"$work/err")" = 1 ] || fail "said more than once"
    done
}

test_a_closed_stdout_is_an_error_and_no_file_is_written_into() {
    command="vlm embed --npy m.npy >&-"
    "$vlm_program" embed -m "$clip" --text cat --json --npy m.npy >&- 2>"$work/err"
    status=$?
    want_status 1
    want_err "cannot write to stdout"
    want_files
}

test_a_reader_that_goes_away_is_an_error_and_not_a_signal() {
    command="vlm embed | head -1"
    i=0
    while [ $i -lt 3000 ]; do echo "word $i"; i=$((i + 1)); done >words
    { "$vlm_program" embed -m "$clip" --file words --json 2>"$work/err"; echo $? >status; } | head -1 >/dev/null
    status=$(cat status)
    want_status 1
    want_err "cannot write to stdout"
}
