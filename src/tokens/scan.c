/* Walking over JSON text: see scan.h. */
#include "tokens/scan.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/fail.h"

void vlm_scan_open(vlm_scan *scan, const char *text, size_t length, const char *where, vlm_error *error)
{
    *scan = (vlm_scan){.at = text, .begin = text, .end = text + length, .where = where, .error = error};
}

void vlm_scan_close(vlm_scan *scan)
{
    vlm_text_free(&scan->string);
}

vlm_status vlm_scan_fail(vlm_scan *scan, const char *wanted)
{
    return vlm_fail(scan->error, VLM_ERR_FORMAT, "%s: not valid at byte %zu: %s is wanted", scan->where, (size_t)(scan->at - scan->begin), wanted);
}

char vlm_scan_peek(vlm_scan *scan)
{
    const char *at = scan->at, *end = scan->end;
    while (at < end && (unsigned char)*at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    scan->at = at;
    return at < end ? *at : 0;
}

bool vlm_scan_take(vlm_scan *scan, char c)
{
    if (vlm_scan_peek(scan) != c || scan->at >= scan->end)
        return false;
    scan->at++;
    return true;
}

/* Four hexadecimal digits; -1 when they are not. */
static int hex4(const vlm_scan *scan, const char *at)
{
    if (scan->end - at < 4)
        return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* scan->at is behind the backslash. */
static vlm_status unescape(vlm_scan *scan)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (scan->at >= scan->end)
        return vlm_scan_fail(scan, "an escape");
    char c = *scan->at++;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        vlm_text_append(&scan->string, &to[simple - from], 1);
        return VLM_OK;
    }
    int high = c == 'u' ? hex4(scan, scan->at) : -1;
    if (high < 0)
        return vlm_scan_fail(scan, "an escape");
    scan->at += 4;
    unsigned value = (unsigned)high;
    if (value >= 0xd800 && value < 0xe000) {
        int low = value < 0xdc00 && scan->end - scan->at >= 6 && scan->at[0] == '\\' && scan->at[1] == 'u' ? hex4(scan, scan->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return vlm_scan_fail(scan, "the second half of a surrogate pair");
        scan->at += 6;
        value = 0x10000 + ((value - 0xd800) << 10) + ((unsigned)low - 0xdc00);
    }
    vlm_text_put_utf8(&scan->string, value);
    return VLM_OK;
}

vlm_status vlm_scan_string(vlm_scan *scan, const char **string, size_t *length)
{
    if (!vlm_scan_take(scan, '"'))
        return vlm_scan_fail(scan, "a string");
    const char *from = scan->at;
    unsigned char high = 0;
    bool escaped = false;
    scan->string.length = 0;
    for (;; scan->at++) {
        if (scan->at >= scan->end || (unsigned char)*scan->at < 0x20)
            return vlm_scan_fail(scan, "the end of a string");
        if (*scan->at == '"')
            break;
        high |= (unsigned char)*scan->at;
        if (*scan->at != '\\')
            continue;
        vlm_text_append(&scan->string, from, (size_t)(scan->at - from));
        scan->at++;
        vlm_status status = unescape(scan);
        if (status != VLM_OK)
            return status;
        escaped = true;
        from = scan->at--;
    }
    *string = from;
    *length = (size_t)(scan->at - from);
    if (escaped) {
        vlm_text_append(&scan->string, from, *length);
        if (scan->string.failed)
            return vlm_fail_memory(scan->error, *length, scan->where);
        *string = scan->string.data;
        *length = scan->string.length;
    }
    if (high >= 0x80 && !vlm_utf8_valid(*string, *length))
        return vlm_scan_fail(scan, "UTF-8 in the string before");
    scan->at++;
    return VLM_OK;
}

vlm_status vlm_scan_id(vlm_scan *scan, unsigned *id)
{
    uint64_t value = 0;
    char c = vlm_scan_peek(scan);
    if (c < '0' || c > '9')
        return vlm_scan_fail(scan, "a token's number");
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++) {
        value = value * 10 + (uint64_t)(*scan->at - '0');
        if (value > UINT32_MAX)
            return vlm_scan_fail(scan, "a smaller number");
    }
    *id = (unsigned)value;
    return VLM_OK;
}

/* significand * 10^exponent as the reference's reader (serde_json without exact rounding) computes it: one
 * multiplication or division by a power of ten, more only beyond 10^308. */
static double scale(uint64_t significand, int64_t exponent)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const int64_t n_powers = sizeof powers / sizeof *powers;
    double value = (double)significand;
    if (exponent > -n_powers && exponent < n_powers)
        return exponent < 0 ? value / powers[-exponent] : value * powers[exponent];
    while (exponent < -308 && value != 0) {
        value /= 1e308;
        exponent += 308;
    }
    if (exponent > 308)
        return value == 0 ? 0 : HUGE_VAL;
    /* Powers past 10^22 are rounded anyway. */
    return exponent < 0 ? value / pow(10, (double)-exponent) : value * pow(10, (double)exponent);
}

vlm_status vlm_scan_number(vlm_scan *scan, double *number)
{
    uint64_t significand = 0;
    int64_t exponent = 0, written = 0;
    vlm_scan_peek(scan);
    bool negative = scan->at < scan->end && *scan->at == '-', fraction = false, any = false, less = false;
    for (scan->at += negative; scan->at < scan->end; scan->at++) {
        char c = *scan->at;
        if (c == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        any = true;
        if (significand < (UINT64_MAX - 9) / 10) { /* digits past the 19th count only for their place */
            significand = significand * 10 + (uint64_t)(c - '0');
            exponent -= fraction;
        } else {
            exponent += !fraction;
        }
    }
    if (!any)
        return vlm_scan_fail(scan, "a number");
    if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
        scan->at++;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
            less = *scan->at++ == '-';
        for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
            if (written < 100000)
                written = written * 10 + (*scan->at - '0');
        exponent += less ? -written : written;
    }
    double value = scale(significand, exponent);
    if (!isfinite(value))
        return vlm_scan_fail(scan, "a number that float64 holds");
    *number = negative ? -value : value;
    return VLM_OK;
}

/* What a byte means outside of a string. */
enum { PLAIN, QUOTE, OPEN, CLOSE, BETWEEN };
static const unsigned char meaning[256] = {
    ['"'] = QUOTE, ['{'] = OPEN, ['['] = OPEN, ['}'] = CLOSE, [']'] = CLOSE,
    [','] = BETWEEN, [':'] = BETWEEN, [' '] = BETWEEN, ['\n'] = BETWEEN, ['\t'] = BETWEEN, ['\r'] = BETWEEN,
};

static bool skip_string(vlm_scan *scan)
{
    for (scan->at++; scan->at < scan->end && *scan->at != '"'; scan->at++)
        if (*scan->at == '\\')
            scan->at++;
    if (scan->at >= scan->end) {
        scan->at = scan->end; /* a backslash may be last */
        return false;
    }
    scan->at++;
    return true;
}

vlm_status vlm_scan_skip(vlm_scan *scan)
{
    size_t depth = 0;
    vlm_scan_peek(scan);
    const char *begin = scan->at;
    while (scan->at < scan->end) {
        unsigned char kind = meaning[(unsigned char)*scan->at];
        if (kind == QUOTE) {
            if (!skip_string(scan))
                return vlm_scan_fail(scan, "the end of a string");
        } else if (kind == CLOSE && depth == 0) {
            break;
        } else {
            if (kind == BETWEEN && depth == 0)
                break;
            depth += kind == OPEN;
            depth -= kind == CLOSE;
            scan->at++;
            if (kind == PLAIN)
                continue;
        }
        if (depth == 0)
            return VLM_OK;
    }
    return depth == 0 && scan->at > begin ? VLM_OK : vlm_scan_fail(scan, depth ? "the end of an object or a list" : "a value");
}

void vlm_text_put_json(vlm_text *out, const char *string, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (string[i] == '"' || string[i] == '\\')
            vlm_text_puts(out, "\\");
        if ((unsigned char)string[i] < 0x20)
            vlm_text_printf(out, "\\u%04x", (unsigned)string[i]);
        else
            vlm_text_append(out, string + i, 1);
    }
}
