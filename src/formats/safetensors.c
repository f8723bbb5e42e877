/* safetensors files: 8 bytes of header length N (little-endian), N bytes of JSON, then the tensors' bytes.
 * The JSON maps each name to {"dtype", "shape", "data_offsets": [begin, end]} (counted from the end of the
 * header); "__metadata__" maps strings to strings. Matches the validation of the Rust crate `safetensors`.
 * Trap: without the demand that tensors tile the data with no hole, a file can carry a second one unseen. */
#include "formats/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json_parse.h"

enum { LARGEST_HEADER = 100000000 }; /* the format's own limit */

/* The format's types in its order of alignment, which is the order that files are written in. */
static const struct file_type {
    const char *name;
    unsigned bits;
    vlm_dtype type;
} file_types[] = {
    {"BOOL", 8, VLM_BOOL},
    {"F4", 4, VLM_DTYPES},
    {"F6_E2M3", 6, VLM_DTYPES},
    {"F6_E3M2", 6, VLM_DTYPES},
    {"U8", 8, VLM_U8},
    {"I8", 8, VLM_I8},
    {"F8_E5M2", 8, VLM_DTYPES},
    {"F8_E4M3", 8, VLM_DTYPES},
    {"F8_E5M2FNUZ", 8, VLM_DTYPES},
    {"F8_E4M3FNUZ", 8, VLM_DTYPES},
    {"F8_E8M0", 8, VLM_DTYPES},
    {"I16", 16, VLM_I16},
    {"U16", 16, VLM_DTYPES},
    {"F16", 16, VLM_F16},
    {"BF16", 16, VLM_BF16},
    {"I32", 32, VLM_I32},
    {"U32", 32, VLM_DTYPES},
    {"F32", 32, VLM_F32},
    {"C64", 64, VLM_DTYPES},
    {"F64", 64, VLM_F64},
    {"I64", 64, VLM_I64},
    {"U64", 64, VLM_DTYPES},
};
enum { N_FILE_TYPES = sizeof file_types / sizeof *file_types };

static const struct file_type *type_by_name(const char *name)
{
    for (size_t i = 0; i < N_FILE_TYPES; i++)
        if (strcmp(file_types[i].name, name) == 0)
            return &file_types[i];
    return NULL;
}

static const struct file_type *type_by_dtype(vlm_dtype type)
{
    for (size_t i = 0; i < N_FILE_TYPES; i++)
        if (type < VLM_DTYPES && file_types[i].type == type)
            return &file_types[i];
    return NULL;
}

/* --- reading ------------------------------------------------------------------------------------------- */

static uint64_t read_length(const unsigned char *bytes)
{
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    return length;
}

bool vlm_safetensors_detect(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    if (size < 10)
        return false;
    uint64_t length = read_length(b);
    return length >= 2 && length <= LARGEST_HEADER && b[8] == '{';
}

/* The integers of a JSON array that are not negative. */
static vlm_status read_sizes(size_t *sizes, size_t *count, size_t most, const json_t *array, const char *file,
                             const char *tensor, const char *key, vlm_error *error)
{
    if (!json_is_array(array))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s: \"%s\" is not an array of integers", file, tensor, key);
    *count = json_array_size(array);
    if (*count > most)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: tensor %s: \"%s\" has %zu numbers; at most %zu are read", file,
                        tensor, key, *count, most);
    for (size_t i = 0; i < *count; i++) {
        const json_t *item = json_array_get(array, i);
        json_int_t value = json_is_integer(item) ? json_integer_value(item) : -1;
        if (value < 0)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s: \"%s\" holds something that is not a size", file, tensor, key);
        sizes[i] = (size_t)value;
    }
    return VLM_OK;
}

/* One tensor's description into the list, with data inside the `size` bytes at data. */
static vlm_status read_tensor(vlm_entry_list *list, const char *name, const json_t *info, const unsigned char *data,
                              size_t size, const char *file, vlm_error *error)
{
    const char *dtype = json_string_value(json_object_get(info, "dtype"));
    if (!dtype)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s has no \"dtype\"", file, name);
    const struct file_type *type = type_by_name(dtype);
    if (!type)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: tensor %s: unknown dtype \"%s\"", file, name, dtype);

    vlm_entry entry = {.type = type->type, .n = 1};
    entry.type_name = type->type < VLM_DTYPES ? vlm_dtype_name(type->type) : type->name;
    vlm_status status = read_sizes(entry.shape, &entry.n_dims, VLM_ENTRY_DIMS, json_object_get(info, "shape"), file,
                                   name, "shape", error);
    if (status != VLM_OK)
        return status;
    size_t offsets[2], n_offsets;
    status = read_sizes(offsets, &n_offsets, 2, json_object_get(info, "data_offsets"), file, name, "data_offsets", error);
    if (status != VLM_OK)
        return status;
    if (n_offsets != 2 || offsets[0] > offsets[1])
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s: \"data_offsets\" must be [begin, end]", file, name);
    if (offsets[1] > size)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s ends at byte %zu of the data, which has %zu; was the file cut?",
                        file, name, offsets[1], size);

    bool fits = true;
    for (size_t i = 0; i < entry.n_dims; i++)
        fits = fits && vlm_multiply(entry.n, entry.shape[i], &entry.n);
    size_t bits = 0;
    fits = fits && vlm_multiply(entry.n, type->bits, &bits);
    entry.bytes = offsets[1] - offsets[0];
    if (!fits || bits % 8 || bits / 8 != entry.bytes)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s: %zu bytes, which its shape and dtype %s contradict", file,
                        name, entry.bytes, dtype);
    entry.data = data + offsets[0];
    if (!vlm_entry_list_add(list, &entry, name, strlen(name)))
        return vlm_fail_memory(error, sizeof entry, file);
    return VLM_OK;
}

static vlm_status read_metadata(vlm_entry_list *list, json_t *metadata, const char *file, vlm_error *error)
{
    if (!json_is_object(metadata))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"__metadata__\" is not an object of strings", file);
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"__metadata__\": the value of %s is not a string", file, key);
        const char *text = json_string_value(value);
        char *key_copy = vlm_arena_copy_text(&list->arena, key, strlen(key));
        char *text_copy = vlm_arena_copy_text(&list->arena, text, strlen(text));
        if (!key_copy || !text_copy ||
            !vlm_grow(&list->metadata, &list->metadata_capacity, list->n_metadata + 2, sizeof *list->metadata))
            return vlm_fail_memory(error, strlen(text), file);
        list->metadata[list->n_metadata++] = key_copy;
        list->metadata[list->n_metadata++] = text_copy;
    }
    return VLM_OK;
}

static int compare_by_place(const void *a, const void *b)
{
    const vlm_entry *x = *(const vlm_entry *const *)a, *y = *(const vlm_entry *const *)b;
    uintptr_t i = (uintptr_t)x->data, j = (uintptr_t)y->data;
    if (i != j)
        return i < j ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* empty tensors before the one that begins there */
}

/* The tensors must tile the data: each begins where the one before ended, the last ends at the end. */
static vlm_status check_tiling(const vlm_entry *entries, size_t n, const unsigned char *data, size_t size,
                               const char *file, vlm_error *error)
{
    const vlm_entry **order = vlm_alloc(n, sizeof *order);
    if (!order)
        return vlm_fail_memory(error, n * sizeof *order, file);
    for (size_t i = 0; i < n; i++)
        order[i] = &entries[i];
    if (n)
        qsort(order, n, sizeof *order, compare_by_place);
    vlm_status status = VLM_OK;
    size_t end = 0;
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        size_t begin = (size_t)((const unsigned char *)order[i]->data - data);
        if (begin != end)
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s begins at byte %zu of the data, and the one before ends at %zu; "
                              "tensors must neither overlap nor leave holes", file, order[i]->name, begin, end);
        end = begin + order[i]->bytes;
    }
    if (status == VLM_OK && end != size)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: %zu bytes of tensors are described, %zu are in the file", file, end, size);
    free(order);
    return status;
}

/* The header's text into a JSON object. */
static vlm_status parse_header(json_t **header, const unsigned char *bytes, size_t length, const char *file, vlm_error *error)
{
    vlm_json_fault fault;
    *header = vlm_json_build((const char *)bytes, length, true, &fault);
    if (!*header && !fault.reason)
        return vlm_fail_memory(error, length, file);
    if (!*header)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the safetensors header is not valid JSON at its byte %zu: %s", file,
                        fault.offset, fault.reason);
    if (!json_is_object(*header)) {
        json_decref(*header);
        *header = NULL;
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the safetensors header is not an object", file);
    }
    return VLM_OK;
}

vlm_status vlm_safetensors_read(vlm_entry_list *list, const void *bytes, size_t size, const char *name, vlm_error *error)
{
    const unsigned char *b = bytes;
    if (size < 8)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: %zu bytes; a safetensors file has at least 8", name, size);
    uint64_t length = read_length(b);
    if (length > LARGEST_HEADER)
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: a safetensors header of %" PRIu64 " bytes; at most %d are read", name,
                        length, LARGEST_HEADER);
    if (length > size - 8)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the header has %" PRIu64 " bytes, the file %zu; was it cut?", name, length, size);
    json_t *header = NULL;
    vlm_status status = parse_header(&header, b + 8, (size_t)length, name, error);
    if (status != VLM_OK)
        return status;

    const unsigned char *data = b + 8 + length;
    size_t data_size = size - 8 - (size_t)length, first = list->count;
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        if (strcmp(key, "__metadata__") == 0)
            status = read_metadata(list, value, name, error);
        else
            status = read_tensor(list, key, value, data, data_size, name, error);
        if (status != VLM_OK)
            break;
    }
    json_decref(header);
    if (status == VLM_OK)
        status = check_tiling(list->items + first, list->count - first, data, data_size, name, error);
    return status;
}

/* --- writing ------------------------------------------------------------------------------------------- */

static int compare_for_writing(const void *a, const void *b)
{
    const vlm_entry *x = *(const vlm_entry *const *)a, *y = *(const vlm_entry *const *)b;
    const struct file_type *s = type_by_dtype(x->type), *t = type_by_dtype(y->type);
    if (s != t)
        return s > t ? -1 : 1; /* larger alignment first */
    return strcmp(x->name, y->name);
}

/* A JSON string in quotes, escaped as serde_json does: only what must be. */
static void put_json_string(vlm_text *text, const char *s)
{
    vlm_text_puts(text, "\"");
    for (; *s; s++) {
        static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
        const char *found = strchr(plain, *s);
        if (found)
            vlm_text_printf(text, "\\%c", letters[found - plain]);
        else if ((unsigned char)*s < 0x20)
            vlm_text_printf(text, "\\u%04x", (unsigned char)*s);
        else
            vlm_text_append(text, s, 1);
    }
    vlm_text_puts(text, "\"");
}

static vlm_status put_tensor(vlm_text *text, const vlm_entry *entry, size_t *offset, const char *path, vlm_error *error)
{
    size_t n = 1, end;
    bool fits = entry->n_dims <= VLM_ENTRY_DIMS;
    for (size_t i = 0; fits && i < entry->n_dims; i++)
        fits = vlm_multiply(n, entry->shape[i], &n);
    if (!fits || !vlm_multiply(n, vlm_dtype_size(entry->type), &n) || __builtin_add_overflow(*offset, n, &end))
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: tensor %s has an impossible shape", path, entry->name);
    put_json_string(text, entry->name);
    vlm_text_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", type_by_dtype(entry->type)->name);
    for (size_t i = 0; i < entry->n_dims; i++)
        vlm_text_printf(text, i ? ",%zu" : "%zu", entry->shape[i]);
    vlm_text_printf(text, "],\"data_offsets\":[%zu,%zu]}", *offset, end);
    *offset = end;
    return VLM_OK;
}

/* The length and the JSON, padded with spaces to a multiple of 8. order: the tensors as they follow. */
static vlm_status make_header(vlm_text *header, const vlm_entry *const *order, size_t n, const char *const (*metadata)[2],
                              size_t n_metadata, const char *path, vlm_error *error)
{
    vlm_status status = VLM_OK;
    size_t offset = 0;
    vlm_text_append(header, "\0\0\0\0\0\0\0", 8);
    vlm_text_puts(header, "{");
    for (size_t i = 0; i < n_metadata; i++) {
        vlm_text_puts(header, i ? "," : "\"__metadata__\":{");
        put_json_string(header, metadata[i][0]);
        vlm_text_puts(header, ":");
        put_json_string(header, metadata[i][1]);
    }
    if (n_metadata)
        vlm_text_puts(header, n ? "}," : "}");
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        if (i)
            vlm_text_puts(header, ",");
        status = put_tensor(header, order[i], &offset, path, error);
    }
    vlm_text_puts(header, "}");
    while (header->length % 8 && !header->failed)
        vlm_text_puts(header, " ");
    if (status == VLM_OK && header->failed)
        status = vlm_fail_memory(error, header->length, path);
    if (status == VLM_OK && header->length - 8 > LARGEST_HEADER)
        status = vlm_fail(error, VLM_ERR_LIMIT, "%s: a header of %zu bytes; at most %d may be written", path,
                          header->length - 8, LARGEST_HEADER);
    for (int i = 0; status == VLM_OK && i < 8; i++)
        header->data[i] = (char)(((uint64_t)header->length - 8) >> (8 * i));
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const vlm_entry *const *)a)->name, (*(const vlm_entry *const *)b)->name);
}

/* Entries that can be told apart by the reader, in the order of writing. */
static vlm_status order_entries(const vlm_entry **order, const vlm_entry *entries, size_t n, const char *path, vlm_error *error)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = entries[i].name;
        if (!type_by_dtype(entries[i].type))
            return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: tensor %s: type %s cannot be written", path, name,
                            vlm_dtype_name(entries[i].type));
        if (strcmp(name, "__metadata__") == 0 || !vlm_utf8_valid(name, strlen(name)))
            return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: \"%s\" cannot be a tensor's name", path, name);
        order[i] = &entries[i];
    }
    if (n)
        qsort(order, n, sizeof *order, compare_names);
    for (size_t i = 1; i < n; i++)
        if (compare_names(&order[i], &order[i - 1]) == 0)
            return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: two tensors are named %s", path, order[i]->name);
    if (n)
        qsort(order, n, sizeof *order, compare_for_writing);
    return VLM_OK;
}

vlm_status vlm_safetensors_write(const char *path, const vlm_entry *entries, size_t n, const char *const (*metadata)[2],
                                 size_t n_metadata, vlm_error *error)
{
    vlm_text header = {0};
    vlm_writer writer = {0};
    const vlm_entry **order = vlm_alloc(n, sizeof *order);
    vlm_status status = order ? VLM_OK : vlm_fail_memory(error, n * sizeof *order, path);
    if (status == VLM_OK)
        status = order_entries(order, entries, n, path, error);
    if (status == VLM_OK)
        status = make_header(&header, order, n, metadata, n_metadata, path, error);
    if (status == VLM_OK)
        status = vlm_writer_open(&writer, path, error);
    if (status == VLM_OK) {
        bool good = fwrite(header.data, 1, header.length, writer.stream) == header.length;
        for (size_t i = 0; i < n && good; i++) { /* a full disk ends the loop; commit says so */
            size_t bytes = vlm_dtype_size(order[i]->type);
            for (size_t d = 0; d < order[i]->n_dims; d++)
                bytes *= order[i]->shape[d];
            good = !bytes || fwrite(order[i]->data, 1, bytes, writer.stream) == bytes;
        }
        status = vlm_writer_commit(&writer, error);
    }
    free(order);
    vlm_text_free(&header);
    return status;
}
