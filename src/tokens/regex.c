/* Patterns of a tokenizer.json on PCRE2: see regex.h.
 * The reference runs Oniguruma with Ruby's syntax. What differs is rewritten: \h is a hexadecimal digit, \s
 * and \w are Unicode's White_Space and Word, (?m) lets the dot match newlines, ^ and $ are always those of
 * lines, classes nest and intersect, \p{Han} is the script and not its extensions.
 * Trap: PCRE2 10.42 knows Unicode 14, the reference 16. Characters that came later are replaced, for the
 * match alone, by older ones of the same category and length (unicode.h). */
#include "tokens/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/unicode.h"

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
/* \w and \b outside of classes: Oniguruma takes Latin-1's superscripts and fractions in there alone. */
#define LOOSE_WORD WORD "\\xb2\\xb3\\xb9\\xbc-\\xbe"

enum {
    MATCH_LIMIT = 2000000, /* steps of backtracking for one match: far above any sane pattern's need */
    DEPTH_LIMIT = 250      /* nested groups and classes */
};

struct vlm_pattern {
    pcre2_code *code; /* NULL: the literal */
    char *literal;
    size_t length;
    bool newest;
};

/* --- from Oniguruma to PCRE2 ------------------------------------------------------------------------- */

typedef struct translation {
    vlm_text *out;
    const char *s;
    size_t n, at;
    size_t atom;                    /* where in out the last atom begins */
    size_t open[DEPTH_LIMIT];       /* where in out each open group begins */
    unsigned closers[DEPTH_LIMIT];  /* groups that (?i) opened inside it */
    size_t depth;
    const char *where;
    vlm_error *error;
} translation;

static vlm_status bad_regex(translation *t, const char *what)
{
    return vlm_fail(t->error, VLM_ERR_UNSUPPORTED, "%s: regular expression: %s at byte %zu of \"%.*s\"", t->where, what, t->at, (int)(t->n < 200 ? t->n : 200), t->s);
}

static bool peek(const translation *t, const char *text)
{
    size_t n = strlen(text);
    return t->n - t->at >= n && memcmp(t->s + t->at, text, n) == 0;
}

/* Property names are compared without case, spaces, hyphens and underscores. */
static void fold_name(char *out, size_t size, const char *name, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length && n + 1 < size; i++) {
        char c = name[i];
        if (c == ' ' || c == '-' || c == '_')
            continue;
        out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    out[n] = 0;
}

/* What PCRE2 writes inside a class for a property: folded name -> class items. */
static const char *const property_items[][2] = {
    {"alpha", "\\p{Alphabetic}"}, {"alphabetic", "\\p{Alphabetic}"}, {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"digit", "\\p{Nd}"}, {"space", "\\p{White_Space}"}, {"whitespace", "\\p{White_Space}"},
    {"upper", "\\p{Uppercase}"}, {"uppercase", "\\p{Uppercase}"}, {"lower", "\\p{Lowercase}"},
    {"lowercase", "\\p{Lowercase}"}, {"word", WORD}, {"xdigit", "0-9a-fA-F"}, {"cntrl", "\\p{Cc}"},
    {"blank", "\\p{Zs}\\t"}, {"punct", "\\p{P}$+<=>^`|~"}, {"ascii", "\\x00-\\x7f"}, {"any", "\\p{Any}"},
    {"letter", "\\p{L}"}, {"uppercaseletter", "\\p{Lu}"}, {"lowercaseletter", "\\p{Ll}"}, {"titlecaseletter", "\\p{Lt}"},
    {"modifierletter", "\\p{Lm}"}, {"otherletter", "\\p{Lo}"}, {"casedletter", "\\p{L&}"}, {"lc", "\\p{L&}"},
    {"mark", "\\p{M}"}, {"combiningmark", "\\p{M}"}, {"nonspacingmark", "\\p{Mn}"}, {"spacingmark", "\\p{Mc}"},
    {"enclosingmark", "\\p{Me}"}, {"number", "\\p{N}"}, {"decimalnumber", "\\p{Nd}"}, {"letternumber", "\\p{Nl}"},
    {"othernumber", "\\p{No}"}, {"punctuation", "\\p{P}"}, {"connectorpunctuation", "\\p{Pc}"},
    {"dashpunctuation", "\\p{Pd}"}, {"openpunctuation", "\\p{Ps}"}, {"closepunctuation", "\\p{Pe}"},
    {"initialpunctuation", "\\p{Pi}"}, {"finalpunctuation", "\\p{Pf}"}, {"otherpunctuation", "\\p{Po}"},
    {"symbol", "\\p{S}"}, {"mathsymbol", "\\p{Sm}"}, {"currencysymbol", "\\p{Sc}"}, {"modifiersymbol", "\\p{Sk}"},
    {"othersymbol", "\\p{So}"}, {"separator", "\\p{Z}"}, {"spaceseparator", "\\p{Zs}"}, {"lineseparator", "\\p{Zl}"},
    {"paragraphseparator", "\\p{Zp}"}, {"other", "\\p{C}"}, {"control", "\\p{Cc}"}, {"format", "\\p{Cf}"},
    {"surrogate", "\\p{Cs}"}, {"privateuse", "\\p{Co}"}, {"unassigned", "\\p{Cn}"}, {"assigned", "\\P{Cn}"},
};

/* *memory becomes false when it was the lack of it that kept the expression from compiling. */
static bool compiles(const char *regex, bool *memory)
{
    int code = 0;
    PCRE2_SIZE offset;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    pcre2_code_free(compiled);
    *memory &= compiled || code != PCRE2_ERROR_HEAP_FAILED;
    return compiled != NULL;
}

/* Read what follows \p or \P, from the brace on (or one letter), and write it as items of a class.
 * *negated: the items' complement is meant. */
static vlm_status property(translation *t, vlm_text *items, bool *negated)
{
    const char *name = t->s + t->at;
    size_t length = 1;
    if (t->at < t->n && *name == '{') {
        const char *end = memchr(name, '}', t->n - t->at);
        if (!end || end - name > 60)
            return bad_regex(t, "a property without its closing brace");
        name++;
        length = (size_t)(end - name);
        t->at += length + 2;
    } else if (t->at < t->n) {
        t->at++;
    } else {
        return bad_regex(t, "a property without a name");
    }
    if (length && *name == '^') {
        *negated = !*negated;
        name++;
        length--;
    }
    char folded[64], regex[96];
    bool memory = true;
    fold_name(folded, sizeof folded, name, length);
    for (size_t i = 0; i < sizeof property_items / sizeof *property_items; i++)
        if (strcmp(folded, property_items[i][0]) == 0) {
            vlm_text_puts(items, property_items[i][1]);
            return VLM_OK;
        }
    for (const char *c = folded; *c; c++)
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9'))
            return bad_regex(t, "a property name with odd characters");
    if (strlen(folded) <= 2) {
        folded[0] = (char)(folded[0] >= 'a' && folded[0] <= 'z' ? folded[0] - 32 : folded[0]);
        snprintf(regex, sizeof regex, "\\p{%s}", folded);
    } else {
        snprintf(regex, sizeof regex, "\\p{sc:%s}", folded);
        if (!compiles(regex, &memory))
            snprintf(regex, sizeof regex, "\\p{%s}", folded);
    }
    bool known = compiles(regex, &memory);
    if (!memory)
        return vlm_fail_memory(t->error, t->n, t->where);
    if (!known)
        return bad_regex(t, "an unknown property");
    vlm_text_puts(items, regex);
    return VLM_OK;
}

/* \uHHHH, at the u: a code point, as \x{...}. */
static vlm_status unicode_escape(translation *t, vlm_text *out)
{
    if (t->n - t->at < 5)
        return bad_regex(t, "\\u without four digits");
    for (size_t i = 1; i <= 4; i++)
        if (!strchr("0123456789abcdefABCDEF", t->s[t->at + i]) || !t->s[t->at + i])
            return bad_regex(t, "\\u without four digits");
    vlm_text_printf(out, "\\x{%.4s}", t->s + t->at + 1);
    t->at += 5;
    return VLM_OK;
}

/* The shorthands that mean a set: items of a class, and whether their complement is meant. */
static bool shorthand(char c, bool in_class, const char **items, bool *negated)
{
    switch (c) {
    case 's': case 'S': *items = "\\p{White_Space}"; break;
    case 'w': case 'W': *items = in_class ? WORD : LOOSE_WORD; break;
    case 'd': case 'D': *items = "\\p{Nd}"; break;
    case 'h': case 'H': *items = "0-9a-fA-F"; break;
    default: return false;
    }
    *negated = c < 'a';
    return true;
}

static void put_character(translation *t, vlm_text *out)
{
    unsigned c;
    size_t length = vlm_utf8_decode(&c, t->s + t->at, t->n - t->at);
    vlm_text_append(out, t->s + t->at, length);
    t->at += length;
}

static vlm_status class_set(translation *t, vlm_text *out, size_t depth);

/* An escape inside a class. Sets that cannot be items become alternatives. */
static vlm_status class_escape(translation *t, vlm_text *items, vlm_text *others)
{
    t->at++;
    if (t->at >= t->n)
        return bad_regex(t, "a trailing backslash");
    char c = t->s[t->at];
    const char *set = NULL;
    bool negated = false;
    vlm_text property_set = {0};
    vlm_status status = VLM_OK;
    if (shorthand(c, true, &set, &negated)) {
        t->at++;
    } else if (c == 'p' || c == 'P') {
        t->at++;
        negated = c == 'P';
        status = property(t, &property_set, &negated);
        set = property_set.data;
    } else if (c == 'u') {
        return unicode_escape(t, items);
    } else if (c == 'v') {
        t->at++;
        vlm_text_puts(items, "\\x0b");
        return VLM_OK;
    } else {
        vlm_text_puts(items, "\\");
        put_character(t, items);
        return VLM_OK;
    }
    if (status == VLM_OK && negated)
        vlm_text_printf(others, "|[^%s]", set ? set : "");
    else if (status == VLM_OK && set)
        vlm_text_puts(items, set);
    vlm_text_free(&property_set);
    return status;
}

/* [:name:] inside a class, at the bracket; *done says that it was one. */
static vlm_status posix_set(translation *t, vlm_text *items, vlm_text *others, bool *done)
{
    const char *from = t->s + t->at + 2;
    size_t left = t->n - t->at - 2, length = 0;
    while (length < left && length < 20 && ((from[length] >= 'a' && from[length] <= 'z') || (length == 0 && from[length] == '^')))
        length++;
    *done = length + 1 < left && from[length] == ':' && from[length + 1] == ']';
    if (!*done)
        return VLM_OK;
    bool negated = *from == '^';
    char folded[32];
    fold_name(folded, sizeof folded, from + negated, length - negated);
    for (size_t i = 0; i < sizeof property_items / sizeof *property_items; i++)
        if (strcmp(folded, property_items[i][0]) == 0) {
            const char *set = strcmp(folded, "punct") == 0 ? "\\p{P}\\p{S}" : property_items[i][1];
            if (negated)
                vlm_text_printf(others, "|[^%s]", set);
            else
                vlm_text_puts(items, set);
            t->at += length + 4;
            return VLM_OK;
        }
    return bad_regex(t, "an unknown POSIX bracket");
}

/* The members of a class up to its ] or &&: plain items, and |alternatives that PCRE2 has no item for. */
static vlm_status class_members(translation *t, vlm_text *items, vlm_text *others, size_t depth)
{
    vlm_status status = VLM_OK;
    for (bool first = true; status == VLM_OK; first = false) {
        if (t->at >= t->n)
            return bad_regex(t, "a class without its closing bracket");
        char c = t->s[t->at];
        bool posix = false;
        if ((c == ']' && !first) || peek(t, "&&"))
            return VLM_OK;
        if (c == '[' && peek(t, "[:"))
            status = posix_set(t, items, others, &posix);
        if (status != VLM_OK || posix)
            continue;
        if (c == '[') {
            vlm_text_puts(others, "|");
            status = class_set(t, others, depth + 1);
        } else if (c == '\\') {
            status = class_escape(t, items, others);
        } else {
            if (c == ']')
                vlm_text_puts(items, "\\");
            put_character(t, items);
        }
    }
    return status;
}

/* A class from its [ to its ]. Unions that PCRE2 cannot write become alternatives, complements and
 * intersections lookaheads before one character. */
static vlm_status class_set(translation *t, vlm_text *out, size_t depth)
{
    if (depth >= DEPTH_LIMIT)
        return bad_regex(t, "classes nested too deep");
    t->at++;
    bool negated = t->at < t->n && t->s[t->at] == '^';
    t->at += negated;
    vlm_text set = {0};
    size_t n_parts = 0;
    bool simple = true;
    vlm_status status = VLM_OK;
    for (bool more = true; more && status == VLM_OK; n_parts++) {
        vlm_text items = {0}, others = {0};
        status = class_members(t, &items, &others, depth);
        if (status == VLM_OK) {
            more = peek(t, "&&");
            t->at += more ? 2 : 1;
            simple = n_parts == 0 && !more && !others.length;
            if (simple)
                vlm_text_printf(&set, "%s", items.data ? items.data : "");
            else if (items.length)
                vlm_text_printf(&set, "(?=[%s]%s)", items.data, others.data ? others.data : "");
            else
                vlm_text_printf(&set, "(?=%s)", others.length ? others.data + 1 : "(?!)");
        }
        if (items.failed || others.failed)
            status = vlm_fail_memory(t->error, t->n, t->where);
        vlm_text_free(&items);
        vlm_text_free(&others);
    }
    if (status == VLM_OK && simple)
        vlm_text_printf(out, "[%s%s]", negated ? "^" : "", set.data ? set.data : "");
    else if (status == VLM_OK)
        vlm_text_printf(out, negated ? "(?:(?!%s)(?s:.))" : "(?:%s(?s:.))", set.data ? set.data : "");
    if (set.failed)
        status = vlm_fail_memory(t->error, t->n, t->where);
    vlm_text_free(&set);
    return status;
}

static vlm_status escape(translation *t)
{
    t->at++;
    if (t->at >= t->n)
        return bad_regex(t, "a trailing backslash");
    char c = t->s[t->at];
    const char *set;
    bool negated = false;
    vlm_status status = VLM_OK;
    if (shorthand(c, false, &set, &negated)) {
        t->at++;
        vlm_text_printf(t->out, "[%s%s]", negated ? "^" : "", set);
    } else if (c == 'p' || c == 'P') {
        vlm_text items = {0};
        t->at++;
        negated = c == 'P';
        status = property(t, &items, &negated);
        vlm_text_printf(t->out, "[%s%s]", negated ? "^" : "", items.data ? items.data : "");
        vlm_text_free(&items);
    } else if (c == 'b' || c == 'B') {
        t->at++;
        vlm_text_puts(t->out, c == 'b' ? "(?:(?<=[" LOOSE_WORD "])(?![" LOOSE_WORD "])|(?<![" LOOSE_WORD "])(?=[" LOOSE_WORD "]))"
                                       : "(?:(?<=[" LOOSE_WORD "])(?=[" LOOSE_WORD "])|(?<![" LOOSE_WORD "])(?![" LOOSE_WORD "]))");
    } else if (c == 'v') {
        t->at++;
        vlm_text_puts(t->out, "\\x0b");
    } else if (c == 'u') {
        status = unicode_escape(t, t->out);
    } else {
        vlm_text_puts(t->out, "\\");
        put_character(t, t->out);
    }
    return status;
}

/* After "(?": letters of options, up to ) or :, as PCRE2 calls them. */
static vlm_status options(translation *t)
{
    bool off = false;
    vlm_text_puts(t->out, "(?");
    for (t->at += 2; t->at < t->n; t->at++) {
        char c = t->s[t->at];
        if (c == ')' || c == ':')
            break;
        if (c == '-' && !off)
            off = true;
        else if (c != 'i' && c != 'm' && c != 'x')
            return bad_regex(t, "an unknown option or group");
        if (c == 'm')
            c = 's';
        vlm_text_append(t->out, &c, 1);
    }
    if (t->at >= t->n)
        return bad_regex(t, "a group without its end");
    bool isolated = t->s[t->at++] == ')';
    vlm_text_puts(t->out, ":");
    /* (?i)a|b means (?i:a|b) here: the group ends where the enclosing one does. */
    if (isolated) {
        t->closers[t->depth]++;
        if (t->closers[t->depth] > DEPTH_LIMIT)
            return bad_regex(t, "too many options");
    } else {
        t->depth++;
        t->closers[t->depth] = 0;
    }
    return VLM_OK;
}

static vlm_status group(translation *t)
{
    static const char *const plain[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    if (t->depth + 1 >= DEPTH_LIMIT)
        return bad_regex(t, "groups nested too deep");
    t->open[t->depth + 1] = t->out->length;
    if (peek(t, "(?#")) {
        const char *end = memchr(t->s + t->at, ')', t->n - t->at);
        if (!end)
            return bad_regex(t, "a comment without its end");
        t->at = (size_t)(end - t->s) + 1;
        return VLM_OK;
    }
    size_t length = 0;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (peek(t, plain[i]))
            length = strlen(plain[i]);
    if (!length && !peek(t, "(?"))
        length = peek(t, "(*") ? 0 : 1;
    if (!length && peek(t, "(?<")) {
        const char *end = memchr(t->s + t->at, '>', t->n - t->at);
        length = end ? (size_t)(end - (t->s + t->at)) + 1 : 0;
    } else if (!length && peek(t, "(?")) {
        return options(t);
    }
    if (!length)
        return bad_regex(t, "an unknown group");
    vlm_text_append(t->out, t->s + t->at, length);
    t->at += length;
    t->depth++;
    t->closers[t->depth] = 0;
    return VLM_OK;
}

static void close_options(translation *t)
{
    while (t->closers[t->depth] > 0) {
        vlm_text_puts(t->out, ")");
        t->closers[t->depth]--;
    }
}

/* Length of an interval {n}, {n,}, {,m} or {n,m} at the brace; 0: the brace is itself. */
static size_t interval(const translation *t, bool *exact)
{
    size_t i = t->at + 1, digits = 0;
    *exact = true;
    for (; i < t->n; i++) {
        if (t->s[i] >= '0' && t->s[i] <= '9')
            digits++;
        else if (t->s[i] == ',' && *exact)
            *exact = false;
        else
            break;
    }
    return i < t->n && t->s[i] == '}' && digits ? i + 1 - t->at : 0;
}

/* Put "(?:" before the last atom, so that what follows applies to the whole. */
static void wrap_atom(translation *t)
{
    vlm_text_puts(t->out, "(?:)");
    if (t->out->failed)
        return;
    char *atom = t->out->data + t->atom;
    memmove(atom + 3, atom, t->out->length - t->atom - 4);
    memcpy(atom, "(?:", 3);
    t->out->data[t->out->length - 1] = ')';
}

/* An interval. Trap: {n,m}+ repeats it here and is possessive in PCRE2, {n}? makes it optional here. */
static void repeat(translation *t, size_t length, bool exact)
{
    vlm_text_puts(t->out, t->s[t->at + 1] == ',' ? "{0" : "{");
    vlm_text_append(t->out, t->s + t->at + 1, length - 1);
    t->at += length;
    if (t->at < t->n && (t->s[t->at] == '+' || (t->s[t->at] == '?' && exact)))
        wrap_atom(t);
}

static vlm_status translate(translation *t)
{
    vlm_status status = VLM_OK;
    bool exact;
    while (t->at < t->n && status == VLM_OK) {
        char c = t->s[t->at];
        size_t before = t->out->length, length;
        if (c == '\\') {
            status = escape(t);
        } else if (c == '[') {
            status = class_set(t, t->out, 0);
        } else if (c == '(') {
            status = group(t);
            continue;
        } else if (c == ')') {
            if (t->depth == 0)
                return bad_regex(t, "an unmatched parenthesis");
            close_options(t);
            before = t->open[t->depth--];
            put_character(t, t->out);
        } else if (c == '{' && (length = interval(t, &exact)) != 0) {
            repeat(t, length, exact);
            continue;
        } else if (c == '*' || c == '+' || c == '?') {
            put_character(t, t->out);
            continue;
        } else {
            if (c == '{')
                vlm_text_puts(t->out, "\\");
            put_character(t, t->out);
        }
        t->atom = before;
    }
    if (status == VLM_OK && t->depth > 0)
        return bad_regex(t, "a group without its end");
    close_options(t);
    return status;
}

vlm_status vlm_regex_translate(vlm_text *out, const char *regex, size_t length, const char *where, vlm_error *error)
{
    translation *t = vlm_alloc_zero(1, sizeof *t);
    if (!t)
        return vlm_fail_memory(error, sizeof *t, where);
    *t = (translation){.out = out, .s = regex, .n = length, .where = where, .error = error};
    vlm_status status = translate(t);
    free(t);
    if (status == VLM_OK && out->failed)
        status = vlm_fail_memory(error, length, where);
    return status;
}

/* --- patterns ---------------------------------------------------------------------------------------- */

vlm_status vlm_pattern_literal(vlm_pattern **out, const char *literal, size_t length, const char *where, vlm_error *error)
{
    if (length == 0)
        return vlm_pattern_regex(out, "", 0, where, error);
    vlm_pattern *pattern = vlm_alloc_zero(1, sizeof *pattern);
    if (pattern)
        pattern->literal = vlm_copy_text(literal, length);
    if (!pattern || !pattern->literal) {
        free(pattern);
        return vlm_fail_memory(error, length, where);
    }
    pattern->length = length;
    *out = pattern;
    return VLM_OK;
}

vlm_status vlm_pattern_regex(vlm_pattern **out, const char *regex, size_t length, const char *where, vlm_error *error)
{
    vlm_text translated = {0};
    pcre2_compile_context *context = NULL;
    vlm_pattern *pattern = vlm_alloc_zero(1, sizeof *pattern);
    int code = 0;
    PCRE2_SIZE offset = 0;
    vlm_status status = pattern ? vlm_regex_translate(&translated, regex, length, where, error) : vlm_fail_memory(error, sizeof *pattern, where);
    if (status == VLM_OK && !(context = pcre2_compile_context_create(NULL)))
        status = vlm_fail_memory(error, length, where);
    if (status == VLM_OK) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        pattern->code = pcre2_compile((PCRE2_SPTR)(translated.data ? translated.data : ""), translated.length, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK, &code, &offset, context);
        if (!pattern->code && code == PCRE2_ERROR_HEAP_FAILED)
            status = vlm_fail_memory(error, length, where);
        else if (!pattern->code) {
            PCRE2_UCHAR reason[160];
            pcre2_get_error_message(code, reason, sizeof reason);
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: regular expression \"%.*s\": %s", where, (int)(length < 200 ? length : 200), regex, (char *)reason);
        }
    }
    /* Without the compiler (an odd machine) matching is slower, not different. */
    if (status == VLM_OK)
        pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    pcre2_compile_context_free(context);
    vlm_text_free(&translated);
    if (status == VLM_OK)
        *out = pattern;
    else
        vlm_pattern_free(pattern);
    return status;
}

void vlm_pattern_set_newest(vlm_pattern *pattern)
{
    pattern->newest = true;
}

void vlm_pattern_free(vlm_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    free(pattern->literal);
    free(pattern);
}

static bool push_found(vlm_matcher *m, size_t start, size_t end)
{
    if (!vlm_grow(&m->found, &m->capacity, m->n_found + 1, sizeof *m->found))
        return false;
    m->found[m->n_found++] = (vlm_found){start, end};
    return true;
}

static vlm_status find_literal(const vlm_pattern *pattern, vlm_matcher *m, const char *text, size_t length, vlm_error *error)
{
    const char *at = text, *end = text + length;
    while ((size_t)(end - at) >= pattern->length) {
        at = memchr(at, pattern->literal[0], (size_t)(end - at) - pattern->length + 1);
        if (!at)
            break;
        if (memcmp(at, pattern->literal, pattern->length) != 0) {
            at++;
            continue;
        }
        if (!push_found(m, (size_t)(at - text), (size_t)(at - text) + pattern->length))
            return vlm_fail_memory(error, length, "matching a pattern");
        at += pattern->length;
    }
    return VLM_OK;
}

static vlm_status prepare(vlm_matcher *m, vlm_error *error)
{
    if (!m->match_data)
        m->match_data = pcre2_match_data_create(1, NULL);
    if (!m->context && (m->context = pcre2_match_context_create(NULL)) != NULL)
        pcre2_set_match_limit(m->context, MATCH_LIMIT);
    if (!m->match_data || !m->context)
        return vlm_fail_memory(error, 256, "matching a pattern");
    return VLM_OK;
}

vlm_status vlm_pattern_find_all(const vlm_pattern *pattern, vlm_matcher *m, const char *text, size_t length, vlm_error *error)
{
    m->n_found = 0;
    if (!pattern->code)
        return find_literal(pattern, m, text, length, error);
    vlm_status status = prepare(m, error);
    if (status != VLM_OK)
        return status;
    m->stand_in.length = 0;
    if (vlm_unicode_stand_in(&m->stand_in, text, length, pattern->newest)) {
        if (m->stand_in.failed)
            return vlm_fail_memory(error, length, "matching a pattern");
        text = m->stand_in.data;
    }
    /* As onig's find_iter: an empty match where the last one ended does not count. */
    size_t at = 0, last = SIZE_MAX;
    while (at <= length) {
        int code = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, m->match_data, m->context);
        if (code == PCRE2_ERROR_NOMATCH)
            break;
        if (code == PCRE2_ERROR_NOMEMORY)
            return vlm_fail_memory(error, length, "matching a pattern");
        if (code < 0)
            return vlm_fail(error, VLM_ERR_LIMIT, "matching a pattern of the tokenizer took more than %d steps (PCRE2 error %d)", MATCH_LIMIT, code);
        const PCRE2_SIZE *spot = pcre2_get_ovector_pointer(m->match_data);
        size_t start = spot[0], end = spot[1];
        if (end < start || end < at) /* \K in a lookaround */
            return vlm_fail(error, VLM_ERR_UNSUPPORTED, "a pattern of the tokenizer matches backwards");
        if (start == end && last == end) {
            unsigned c;
            at += at < length ? vlm_utf8_decode(&c, text + at, length - at) : 1;
            continue;
        }
        if (!push_found(m, start, end))
            return vlm_fail_memory(error, length, "matching a pattern");
        at = last = end;
    }
    return VLM_OK;
}

void vlm_matcher_free(vlm_matcher *m)
{
    pcre2_match_data_free(m->match_data);
    pcre2_match_context_free(m->context);
    free(m->found);
    vlm_text_free(&m->stand_in);
    *m = (vlm_matcher){0};
}
