/* A growing text buffer, and UTF-8 one code point at a time. */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static bool reserve(vlm_text *text, size_t more)
{
    if (text->failed || more >= SIZE_MAX - text->length ||
        !vlm_grow(&text->data, &text->capacity, text->length + more + 1, 1))
        text->failed = true;
    return !text->failed;
}

void vlm_text_append(vlm_text *text, const void *bytes, size_t length)
{
    if (!reserve(text, length))
        return;
    if (length)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = 0;
}

void vlm_text_puts(vlm_text *text, const char *string)
{
    vlm_text_append(text, string, strlen(string));
}

void vlm_text_printf(vlm_text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    if (n < 0)
        text->failed = true;
    else if (reserve(text, (size_t)n)) {
        vsnprintf(text->data + text->length, (size_t)n + 1, format, again);
        text->length += (size_t)n;
    }
    va_end(again);
    va_end(arguments);
}

void vlm_text_put_utf8(vlm_text *text, unsigned c)
{
    unsigned char b[4];
    if (c < 0x80) {
        b[0] = (unsigned char)c;
        vlm_text_append(text, b, 1);
    } else if (c < 0x800) {
        b[0] = (unsigned char)(0xc0 | c >> 6);
        b[1] = (unsigned char)(0x80 | (c & 0x3f));
        vlm_text_append(text, b, 2);
    } else if (c < 0x10000) {
        b[0] = (unsigned char)(0xe0 | c >> 12);
        b[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        b[2] = (unsigned char)(0x80 | (c & 0x3f));
        vlm_text_append(text, b, 3);
    } else {
        b[0] = (unsigned char)(0xf0 | c >> 18);
        b[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
        b[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        b[3] = (unsigned char)(0x80 | (c & 0x3f));
        vlm_text_append(text, b, 4);
    }
}

void vlm_text_free(vlm_text *text)
{
    free(text->data);
    *text = (vlm_text){0};
}

size_t vlm_utf8_decode(unsigned *code_point, const char *s, size_t n)
{
    const unsigned char *b = (const unsigned char *)s;
    unsigned lead = b[0], c;
    size_t length;
    *code_point = 0xfffd;
    if (lead < 0x80) {
        *code_point = lead;
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
        c = lead & 0x1f;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        c = lead & 0x0f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        c = lead & 0x07;
    } else {
        return 1;
    }
    /* The second byte's range shuts out overlong forms, surrogates and values past the last plane. */
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < length; i++) {
        if (i >= n || b[i] < low || b[i] > high)
            return i;
        c = c << 6 | (b[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *code_point = c;
    return length;
}

bool vlm_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned c;
        size_t length = vlm_utf8_decode(&c, s + i, n - i);
        if (c == 0xfffd && !(length == 3 && memcmp(s + i, "\xef\xbf\xbd", 3) == 0))
            return false;
        i += length;
    }
    return true;
}
