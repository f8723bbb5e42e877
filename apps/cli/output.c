/* What goes to stdout: JSON lines that read back as the same numbers, and aligned tables for people. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "cli/cli.h"

static bool output_failed; /* said once */

/* ---- JSON ---------------------------------------------------------------------------------------------- */

/* A value follows: a comma unless it is the first in its bracket or stands after its key. */
static void separate(vlm_text *json)
{
    char last = json->length ? json->data[json->length - 1] : '{';
    if (last != '{' && last != '[' && last != ':')
        vlm_text_puts(json, ",");
}

void vlm_put_open(vlm_text *json, char bracket)
{
    if (json->length)
        separate(json);
    vlm_text_append(json, &bracket, 1);
}

void vlm_put_close(vlm_text *json, char bracket)
{
    vlm_text_append(json, &bracket, 1);
}

void vlm_put_bytes(vlm_text *json, const char *bytes, size_t length)
{
    separate(json);
    vlm_text_puts(json, "\"");
    for (size_t i = 0; i < length;) {
        unsigned c;
        i += vlm_utf8_decode(&c, bytes + i, length - i);
        if (c == '"' || c == '\\')
            vlm_text_printf(json, "\\%c", (int)c);
        else if (c == '\n')
            vlm_text_puts(json, "\\n");
        else if (c == '\t')
            vlm_text_puts(json, "\\t");
        else if (c == '\r')
            vlm_text_puts(json, "\\r");
        else if (c < 0x20 || c == 0x7f || c == 0x2028 || c == 0x2029) /* the last two end a line in JavaScript */
            vlm_text_printf(json, "\\u%04x", c);
        else
            vlm_text_put_utf8(json, c);
    }
    vlm_text_puts(json, "\"");
}

void vlm_put_string(vlm_text *json, const char *string)
{
    if (string) {
        vlm_put_bytes(json, string, strlen(string));
    } else {
        separate(json);
        vlm_text_puts(json, "null");
    }
}

void vlm_put_key(vlm_text *json, const char *key)
{
    vlm_put_string(json, key);
    vlm_text_puts(json, ":");
}

void vlm_put_count(vlm_text *json, uint64_t value)
{
    separate(json);
    vlm_text_printf(json, "%llu", (unsigned long long)value);
}

/* %g drops trailing zeros, so six digits are also the form of 0.5; nine are always enough. */
void vlm_put_digits(vlm_text *text, float value)
{
    char digits[32];
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value)
            break;
    }
    vlm_text_puts(text, digits);
}

void vlm_put_float(vlm_text *json, float value)
{
    separate(json);
    if (isfinite(value))
        vlm_put_digits(json, value);
    else
        vlm_text_puts(json, "null");
}

void vlm_put_bool(vlm_text *json, bool value)
{
    separate(json);
    vlm_text_puts(json, value ? "true" : "false");
}

/* ---- lines ------------------------------------------------------------------------------------------------ */

void vlm_put_plain(vlm_text *text, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        unsigned c;
        i += vlm_utf8_decode(&c, bytes + i, length - i);
        if (c == '\n')
            vlm_text_puts(text, "\\n");
        else if (c == '\t')
            vlm_text_puts(text, "\\t");
        else if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            vlm_text_printf(text, "\\x%02x", c);
        else
            vlm_text_put_utf8(text, c);
    }
}

static bool fail_output(void)
{
    int reason = errno;
    if (!output_failed)
        vlm_say("cannot write to stdout: %s", reason ? strerror(reason) : "an earlier write failed");
    output_failed = true;
    return false;
}

bool vlm_print_line(vlm_text *line)
{
    bool good = !line->failed;
    if (!good) {
        vlm_say_memory();
        output_failed = true;
    } else {
        vlm_progress_end(); /* both may go to the same terminal */
        errno = 0;
        good = (line->length == 0 || fwrite(line->data, line->length, 1, stdout) == 1) && fputc('\n', stdout) != EOF;
        if (!good)
            fail_output();
    }
    vlm_text_free(line);
    return good && !output_failed;
}

bool vlm_flush_output(void)
{
    errno = 0;
    if (output_failed || fflush(stdout) != 0 || ferror(stdout))
        return fail_output();
    return true;
}

bool vlm_close_output(void)
{
    bool good = vlm_flush_output();
    errno = 0;
    if (fclose(stdout) != 0 && good)
        good = fail_output();
    return good;
}

void vlm_report_bad_input(const char *input, const char *message, bool json)
{
    if (strstr(message, input))
        vlm_say("%s", message);
    else
        vlm_say("%s: %s", input, message);
    if (!json)
        return;
    vlm_text line = {0};
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "input");
    vlm_put_string(&line, input);
    vlm_put_key(&line, "error");
    vlm_put_string(&line, message);
    vlm_put_close(&line, '}');
    vlm_print_line(&line);
}

/* ---- tables ------------------------------------------------------------------------------------------------ */

size_t vlm_text_width(const char *bytes, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length;) {
        unsigned c;
        i += vlm_utf8_decode(&c, bytes + i, length - i);
        int columns = utf8proc_charwidth((utf8proc_int32_t)c);
        width += columns > 0 ? (size_t)columns : 0;
    }
    return width;
}

void vlm_table_cell(vlm_table *table, const char *bytes, size_t length)
{
    vlm_put_plain(&table->cells, bytes, length);
    vlm_text_append(&table->cells, "", 1);
    table->n_cells++;
}

void vlm_table_clipped(vlm_table *table, const char *bytes, size_t length, size_t width)
{
    vlm_text cell = {0};
    size_t end = 0, kept = 0;
    vlm_put_plain(&cell, bytes, length);
    while (end < cell.length) { /* kept: what leaves a column for the ellipsis */
        unsigned c;
        size_t next = end + vlm_utf8_decode(&c, cell.data + end, cell.length - end), columns = vlm_text_width(cell.data, next);
        if (columns > width)
            break;
        kept = columns < width ? next : kept;
        end = next;
    }
    table->cells.failed |= cell.failed;
    vlm_text_append(&table->cells, cell.data, end < cell.length ? kept : cell.length);
    vlm_text_append(&table->cells, "\xe2\x80\xa6", end < cell.length ? 3 : 0);
    vlm_text_append(&table->cells, "", 1);
    table->n_cells++;
    vlm_text_free(&cell);
}

void vlm_table_float(vlm_table *table, const char *format, double value)
{
    char digits[64];
    int n = snprintf(digits, sizeof digits, format, value);
    vlm_table_cell(table, digits, n > 0 ? (size_t)n : 0);
}

static char alignment(const vlm_table *table, size_t column)
{
    size_t n = strlen(table->align);
    return table->align[column < n ? column : n - 1];
}

static void put_spaces(vlm_text *text, size_t n)
{
    while (n--)
        vlm_text_puts(text, " ");
}

bool vlm_table_print(vlm_table *table)
{
    size_t *widths = calloc(table->n_columns + 1, sizeof *widths);
    bool good = widths && !table->cells.failed;
    const char *cell = table->cells.data;
    for (size_t i = 0; good && i < table->n_cells; i++, cell += strlen(cell) + 1) {
        size_t width = vlm_text_width(cell, strlen(cell));
        if (width > widths[i % table->n_columns])
            widths[i % table->n_columns] = width;
    }
    if (!good)
        vlm_say_memory();
    cell = table->cells.data;
    vlm_text line = {0};
    for (size_t i = 0; good && i < table->n_cells; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->n_columns, length = strlen(cell);
        size_t gap = widths[column] - vlm_text_width(cell, length);
        bool right = alignment(table, column) == 'r', last = column + 1 == table->n_columns;
        put_spaces(&line, column ? 2 : 0);
        put_spaces(&line, right ? gap : 0);
        vlm_text_append(&line, cell, length);
        put_spaces(&line, right || last ? 0 : gap);
        while (last && line.length && line.data[line.length - 1] == ' ')
            line.data[--line.length] = 0;
        if (last)
            good = vlm_print_line(&line);
    }
    vlm_text_free(&line);
    free(widths);
    vlm_text_free(&table->cells);
    table->n_cells = 0;
    return good;
}
