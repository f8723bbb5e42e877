/* JSON text to jansson's values: RFC 8259, one pass, recursive descent.
 * jansson's own reader cannot be used on a path where memory may run out: version 2.14 drops bytes of a string, or
 * asserts, when its buffer cannot grow, and has no code for it. Its values report every failure. */
#include "formats/json_parse.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { DEEPEST = 512, LONGEST_NUMBER = 400 };

typedef struct parser {
    const char *at, *end;
    bool unique;
    size_t depth;
    vlm_text scratch;   /* a string whose escapes are being resolved */
    const char *reason; /* the first fault, at `at`; NULL with failed: out of memory */
    bool failed;
} parser;

static json_t *parse_value(parser *p);

static json_t *fault_at(parser *p, const char *reason)
{
    if (!p->failed) {
        p->failed = true;
        p->reason = reason;
    }
    return NULL;
}

/* A value of jansson's, or out of memory. */
static json_t *made(parser *p, json_t *value)
{
    return value ? value : fault_at(p, NULL);
}

static char skip_space(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
    return p->at < p->end ? *p->at : 0;
}

/* --- strings ------------------------------------------------------------------------------------------- */

static bool read_hex(parser *p, unsigned *code)
{
    *code = 0;
    if (p->end - p->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *p->at++;
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 16;
        if (digit == 16)
            return false;
        *code = *code << 4 | digit;
    }
    return true;
}

/* What follows a backslash; surrogates come in pairs. */
static bool read_escape(parser *p)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char c = p->at < p->end ? *p->at++ : 0;
    const char *known = c ? strchr(letters, c) : NULL;
    if (known) {
        vlm_text_append(&p->scratch, &meanings[known - letters], 1);
        return true;
    }
    unsigned code, low;
    if (c != 'u' || !read_hex(p, &code))
        return false;
    if (code >= 0xd800 && code < 0xdc00) {
        if (p->end - p->at < 6 || p->at[0] != '\\' || p->at[1] != 'u')
            return false;
        p->at += 2;
        if (!read_hex(p, &low) || low < 0xdc00 || low > 0xdfff)
            return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
        return false;
    }
    vlm_text_put_utf8(&p->scratch, code);
    return true;
}

/* The string at the opening quote: *string[0..*length) is borrowed from the text, or from the scratch buffer
 * until the next string. */
static bool parse_string(parser *p, const char **string, size_t *length)
{
    const char *start = ++p->at;
    p->scratch.length = 0;
    bool escaped = false;
    for (;;) {
        const char *plain = p->at;
        while (p->at < p->end && *p->at != '"' && *p->at != '\\' && (unsigned char)*p->at >= 0x20)
            p->at++;
        if (p->at == p->end || (unsigned char)*p->at < 0x20)
            return fault_at(p, p->at == p->end ? "a string without an end" : "a control character in a string");
        if (*p->at == '"' && !escaped) {
            *string = start;
            *length = (size_t)(p->at++ - start);
            break;
        }
        escaped = true;
        vlm_text_append(&p->scratch, plain, (size_t)(p->at - plain));
        if (*p->at++ == '"') {
            *string = p->scratch.data ? p->scratch.data : "";
            *length = p->scratch.length;
            break;
        }
        if (!read_escape(p))
            return fault_at(p, "a bad escape in a string");
    }
    if (p->scratch.failed)
        return fault_at(p, NULL);
    if (!vlm_utf8_valid(*string, *length))
        return fault_at(p, "a string that is not UTF-8");
    return true;
}

/* --- numbers ------------------------------------------------------------------------------------------- */

static size_t skip_digits(parser *p)
{
    const char *start = p->at;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
        p->at++;
    return (size_t)(p->at - start);
}

/* strtod reads the decimal point of the program's locale. */
static json_t *make_real(parser *p, char *digits)
{
    char *point = strchr(digits, '.');
    if (point)
        *point = *localeconv()->decimal_point;
    double value = strtod(digits, NULL);
    if (value > 1.7976931348623157e308 || value < -1.7976931348623157e308)
        return fault_at(p, "a number beyond what a double holds");
    return made(p, json_real(value));
}

static json_t *parse_number(parser *p)
{
    const char *start = p->at;
    bool whole = true;
    p->at += *p->at == '-';
    const char *first = p->at;
    size_t digits = skip_digits(p);
    bool good = digits == 1 || (digits > 1 && *first != '0');
    if (good && p->at < p->end && *p->at == '.') {
        p->at++;
        whole = false;
        good = skip_digits(p) > 0;
    }
    if (good && p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
        p->at++;
        whole = false;
        p->at += p->at < p->end && (*p->at == '+' || *p->at == '-');
        good = skip_digits(p) > 0;
    }
    char copy[LONGEST_NUMBER + 1];
    size_t length = (size_t)(p->at - start);
    if (!good || length > LONGEST_NUMBER)
        return fault_at(p, good ? "a number of too many digits" : "a bad number");
    memcpy(copy, start, length);
    copy[length] = 0;
    errno = 0;
    long long integer = whole ? strtoll(copy, NULL, 10) : 0;
    return whole && errno != ERANGE ? made(p, json_integer(integer)) : make_real(p, copy);
}

/* --- values -------------------------------------------------------------------------------------------- */

static json_t *parse_word(parser *p, const char *word, json_t *value)
{
    size_t length = strlen(word);
    if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length) != 0)
        return fault_at(p, "a value is wanted");
    p->at += length;
    return value;
}

static bool parse_member(parser *p, json_t *object)
{
    const char *string;
    size_t length;
    if (skip_space(p) != '"')
        return fault_at(p, "a key in quotes is wanted");
    if (!parse_string(p, &string, &length))
        return false;
    if (memchr(string, 0, length))
        return fault_at(p, "a key that holds NUL");
    char *key = malloc(length + 1); /* the value's strings will use the scratch buffer too */
    if (!key)
        return fault_at(p, NULL);
    memcpy(key, string, length);
    key[length] = 0;
    json_t *value = NULL;
    if (p->unique && json_object_get(object, key))
        fault_at(p, "a key that stands twice");
    else if (skip_space(p) != ':')
        fault_at(p, "a colon is wanted");
    else {
        p->at++;
        value = parse_value(p);
    }
    if (value && json_object_set_new_nocheck(object, key, value) != 0)
        value = fault_at(p, NULL);
    free(key);
    return value != NULL;
}

/* An object or array behind its bracket: members or values, commas between, the closing bracket. */
static json_t *parse_container(parser *p, json_t *container, bool object)
{
    const char close = object ? '}' : ']';
    if (!container)
        return fault_at(p, NULL);
    p->at++;
    bool good = ++p->depth <= DEEPEST || fault_at(p, "nested too deeply");
    if (good && skip_space(p) == close) {
        p->at++;
        p->depth--;
        return container;
    }
    while (good) {
        if (object) {
            good = parse_member(p, container);
        } else {
            json_t *value = parse_value(p);
            good = value && (json_array_append_new(container, value) == 0 || fault_at(p, NULL));
        }
        char next = good ? skip_space(p) : 0;
        if (next == close || next == ',')
            p->at++;
        else if (good)
            good = fault_at(p, object ? "a comma or a closing brace is wanted" : "a comma or a closing bracket is wanted");
        if (next == close)
            break;
    }
    p->depth--;
    if (good)
        return container;
    json_decref(container);
    return NULL;
}

static json_t *parse_value(parser *p)
{
    const char *string;
    size_t length;
    char c = skip_space(p);
    switch (c) {
    case '{': return parse_container(p, json_object(), true);
    case '[': return parse_container(p, json_array(), false);
    case '"': return parse_string(p, &string, &length) ? made(p, json_stringn_nocheck(string, length)) : NULL;
    case 't': return parse_word(p, "true", json_true());
    case 'f': return parse_word(p, "false", json_false());
    case 'n': return parse_word(p, "null", json_null());
    default: return c == '-' || (c >= '0' && c <= '9') ? parse_number(p) : fault_at(p, "a value is wanted");
    }
}

json_t *vlm_json_build(const char *text, size_t length, bool unique, vlm_json_fault *fault)
{
    parser p = {.at = text, .end = text + length, .unique = unique};
    char first = skip_space(&p);
    json_t *root = first == '{' || first == '[' ? parse_value(&p) : fault_at(&p, "an object or an array is wanted");
    if (root && (skip_space(&p), p.at < p.end)) {
        json_decref(root);
        root = fault_at(&p, "something follows the end");
    }
    *fault = (vlm_json_fault){.reason = p.reason, .offset = (size_t)(p.at - text), .line = 1, .column = 1};
    for (const char *c = text; !root && c < p.at; c++) {
        fault->column = *c == '\n' ? 1 : fault->column + 1;
        fault->line += *c == '\n';
    }
    vlm_text_free(&p.scratch);
    return root;
}
