/* The JSON reader: what RFC 8259 allows, as Python's json module reads it; all else refused where it breaks. */
#include <float.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/json.h"
#include "formats/json_parse.h"

static json_t *parse(const char *text)
{
    vlm_json_fault fault;
    json_t *root = vlm_json_build(text, strlen(text), false, &fault);
    if (!root)
        fail_msg("%s: %s at %zu", text, fault.reason ? fault.reason : "out of memory", fault.offset);
    return root;
}

static void expect_refused(const char *text, size_t length, size_t offset, const char *words)
{
    char *copy = malloc(length + 1); /* a block of its own: reading past it is seen */
    memcpy(copy, text, length);
    vlm_json_fault fault = {0};
    json_t *root = vlm_json_build(copy, length, false, &fault);
    if (root || !fault.reason || !strstr(fault.reason, words) || fault.offset != offset)
        fail_msg("%s: \"%s\" at %zu; wanted \"%s\" at %zu", text, root ? "accepted" : fault.reason, fault.offset, words, offset);
    free(copy);
}
#define EXPECT_REFUSED(text, offset, words) expect_refused(text, sizeof text - 1, offset, words)

static void test_values_of_every_type_are_read(void **state)
{
    (void)state;
    json_t *root = parse(" {\"a\" : [ true,false,null , \"x\", {} , [] ],\"\":{\"b\":-1}}\r\n\t");
    const json_t *array = json_object_get(root, "a");
    assert_int_equal(json_array_size(array), 6);
    assert_true(json_is_true(json_array_get(array, 0)));
    assert_true(json_is_false(json_array_get(array, 1)));
    assert_true(json_is_null(json_array_get(array, 2)));
    assert_string_equal(json_string_value(json_array_get(array, 3)), "x");
    assert_true(json_is_object(json_array_get(array, 4)));
    assert_true(json_is_array(json_array_get(array, 5)));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, ""), "b")), -1);
    json_decref(root);
}

static void test_numbers_are_read_to_the_last_bit(void **state)
{
    (void)state;
    json_t *root = parse("[0, -0, 9223372036854775807, -9223372036854775808, 1e2, 0.1, 1.7976931348623157e308, 5e-324, -2.5E+3, 1e-400]");
    assert_int_equal(json_integer_value(json_array_get(root, 0)), 0);
    assert_int_equal(json_integer_value(json_array_get(root, 2)), INT64_MAX);
    assert_int_equal(json_integer_value(json_array_get(root, 3)), INT64_MIN);
    assert_true(json_is_real(json_array_get(root, 4)));
    assert_true(json_real_value(json_array_get(root, 5)) == 0.1);
    assert_true(json_real_value(json_array_get(root, 6)) == DBL_MAX);
    assert_true(json_real_value(json_array_get(root, 7)) == 5e-324);
    assert_true(json_real_value(json_array_get(root, 8)) == -2500);
    assert_true(json_real_value(json_array_get(root, 9)) == 0);
    json_decref(root);
}

/* tokenizer_config.json's "no limit", which jansson alone refuses. */
static void test_an_integer_beyond_64_bits_is_a_real_number(void **state)
{
    (void)state;
    json_t *root = parse("[1000000000000000019884624838656, 9223372036854775808]");
    assert_true(json_real_value(json_array_get(root, 0)) == 1e30);
    assert_true(json_real_value(json_array_get(root, 1)) == 9223372036854775808.0);
    json_decref(root);
}

static void test_the_programs_locale_does_not_change_numbers(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8"};
    const char *set = NULL;
    for (size_t i = 0; i < 4 && !set; i++)
        set = setlocale(LC_NUMERIC, commas[i]);
    if (!set) {
        print_message("no locale with a decimal comma on this machine\n");
        skip();
    }
    json_t *root = parse("[1.5]");
    setlocale(LC_NUMERIC, "C");
    assert_true(json_real_value(json_array_get(root, 0)) == 1.5);
    json_decref(root);
}

static void test_escapes_become_utf8(void **state)
{
    (void)state;
    json_t *root = parse("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\", \"\\u00e9\\u20AC\\ud83d\\ude00x\", \"caf\xc3\xa9\"]");
    assert_string_equal(json_string_value(json_array_get(root, 0)), "\"\\/\b\f\n\r\t");
    assert_string_equal(json_string_value(json_array_get(root, 1)), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80x");
    assert_string_equal(json_string_value(json_array_get(root, 2)), "caf\xc3\xa9");
    json_decref(root);
    root = parse("[\"a\\u0000b\"]");
    assert_int_equal(json_string_length(json_array_get(root, 0)), 3);
    assert_memory_equal(json_string_value(json_array_get(root, 0)), "a\0b", 3);
    json_decref(root);
}

static void test_a_key_twice_means_the_last_unless_keys_must_be_unique(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":1,\"a\":2}";
    json_t *root = parse(text);
    assert_int_equal(json_integer_value(json_object_get(root, "a")), 2);
    json_decref(root);
    vlm_json_fault fault;
    assert_null(vlm_json_build(text, sizeof text - 1, true, &fault));
    assert_string_equal(fault.reason, "a key that stands twice");
}

static void test_what_is_no_json_is_refused_where_it_breaks(void **state)
{
    (void)state;
    EXPECT_REFUSED("", 0, "an object or an array");
    EXPECT_REFUSED("  1", 2, "an object or an array");
    EXPECT_REFUSED("\xef\xbb\xbf{}", 0, "an object or an array");
    EXPECT_REFUSED("{} x", 3, "something follows");
    EXPECT_REFUSED("{}\0", 2, "something follows");
    EXPECT_REFUSED("[1,]", 3, "a value");
    EXPECT_REFUSED("[1 2]", 3, "a comma or a closing bracket");
    EXPECT_REFUSED("[1", 2, "a comma or a closing bracket");
    EXPECT_REFUSED("{\"a\":1,}", 7, "a key in quotes");
    EXPECT_REFUSED("{a:1}", 1, "a key in quotes");
    EXPECT_REFUSED("{\"a\" 1}", 5, "a colon");
    EXPECT_REFUSED("{\"a\":1", 6, "a comma or a closing brace");
    EXPECT_REFUSED("{\"a\\u0000\":1}", 10, "holds NUL");
    EXPECT_REFUSED("[tru]", 1, "a value");
    EXPECT_REFUSED("[NaN]", 1, "a value");
    EXPECT_REFUSED("[-Infinity]", 2, "a bad number");
    EXPECT_REFUSED("[01]", 3, "a bad number");
    EXPECT_REFUSED("[1.]", 3, "a bad number");
    EXPECT_REFUSED("[1e]", 3, "a bad number");
    EXPECT_REFUSED("[.5]", 1, "a value");
    EXPECT_REFUSED("[1e999]", 6, "beyond what a double holds");
    EXPECT_REFUSED("[\"a", 3, "without an end");
    EXPECT_REFUSED("[\"a\n\"]", 3, "control character");
    EXPECT_REFUSED("[\"\\x\"]", 4, "a bad escape");
    EXPECT_REFUSED("[\"\\u12\"]", 7, "a bad escape");
    EXPECT_REFUSED("[\"\\ud800\"]", 8, "a bad escape");
    EXPECT_REFUSED("[\"\\ude00\"]", 8, "a bad escape");
    EXPECT_REFUSED("[\"\xff\"]", 4, "not UTF-8");
    EXPECT_REFUSED("[\"\xed\xa0\x80\"]", 6, "not UTF-8");
}

static void test_nesting_and_digits_are_limited(void **state)
{
    (void)state;
    size_t n = 1000000;
    char *deep = malloc(n + 8);
    memset(deep, '[', n);
    vlm_json_fault fault;
    assert_null(vlm_json_build(deep, n, false, &fault));
    assert_string_equal(fault.reason, "nested too deeply");
    assert_int_equal(fault.offset, 513);
    memset(deep + 1, '7', n);
    deep[n] = ']';
    assert_null(vlm_json_build(deep, n + 1, false, &fault));
    assert_string_equal(fault.reason, "a number of too many digits");
    free(deep);
}

static void test_an_error_names_the_line_and_the_column(void **state)
{
    (void)state;
    json_t *root;
    vlm_error error = {0};
    assert_int_equal(vlm_json_parse(&root, "{\n \"a\": 1,\n \"b\" 2}", 18, "config.json", &error), VLM_ERR_FORMAT);
    assert_string_equal(error.message, "config.json: not valid JSON at line 3, column 6: a colon is wanted");
    assert_null(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_of_every_type_are_read),
        cmocka_unit_test(test_numbers_are_read_to_the_last_bit),
        cmocka_unit_test(test_an_integer_beyond_64_bits_is_a_real_number),
        cmocka_unit_test(test_the_programs_locale_does_not_change_numbers),
        cmocka_unit_test(test_escapes_become_utf8),
        cmocka_unit_test(test_a_key_twice_means_the_last_unless_keys_must_be_unique),
        cmocka_unit_test(test_what_is_no_json_is_refused_where_it_breaks),
        cmocka_unit_test(test_nesting_and_digits_are_limited),
        cmocka_unit_test(test_an_error_names_the_line_and_the_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
