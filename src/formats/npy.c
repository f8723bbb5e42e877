/* NumPy's .npy: "\x93NUMPY", a version, the header's length, a Python dictionary as text with descr,
 * fortran_order and shape, padded with spaces to a multiple of 64 bytes, then the values.
 * (numpy.lib.format; versions 1 to 3 are read, 1 is written.) */
#include "formats/npy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/fail.h"
#include "base/memory.h"

enum { HEADER_MAX = 320 }; /* eight sizes of 20 digits and the words around them, rounded up */

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
static const char machine_order = '>';
#else
static const char machine_order = '<';
#endif

/* ---- Writing ------------------------------------------------------------------------------------------- */

/* The header with room for any first size, so that it can be written again once that is known. */
static size_t make_header(char header[HEADER_MAX], const vlm_npy_writer *npy)
{
    char text[HEADER_MAX];
    int n = snprintf(text, sizeof text, "{'descr': '%cf4', 'fortran_order': False, 'shape': (", machine_order);
    int digits = 0;
    for (size_t i = 0; i < npy->n_dims; i++) {
        int used = snprintf(text + n, sizeof text - (size_t)n, i ? " %zu," : "%zu,", npy->shape[i]);
        digits = i ? digits : used - 1;
        n += used;
    }
    if (npy->n_dims > 1)
        n--; /* (3, 4): only a single size keeps its comma */
    n += snprintf(text + n, sizeof text - (size_t)n, "), }");
    size_t total = (10 + (size_t)n + (npy->n_dims ? 20 - (size_t)digits : 0) + 1 + 63) / 64 * 64;
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((total - 10) & 255);
    header[9] = (char)((total - 10) >> 8);
    memset(header + 10, ' ', total - 10);
    memcpy(header + 10, text, (size_t)n);
    header[total - 1] = '\n';
    return total;
}

vlm_status vlm_npy_open(vlm_npy_writer *npy, const char *path, const size_t *shape, size_t n_dims, int growing, vlm_error *error)
{
    *npy = (vlm_npy_writer){.n_dims = n_dims, .growing = growing};
    if (n_dims > VLM_NPY_DIMS || (growing && n_dims == 0))
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: an array of %zu dimensions; at most %d are written", path, n_dims, VLM_NPY_DIMS);
    for (size_t i = 0; i < n_dims; i++)
        npy->shape[i] = shape[i];
    vlm_status status = vlm_writer_open(&npy->file, path, error);
    if (status != VLM_OK)
        return status;
    char header[HEADER_MAX];
    fwrite(header, 1, make_header(header, npy), npy->file.stream); /* failures are seen at the end */
    return VLM_OK;
}

vlm_status vlm_npy_write(vlm_npy_writer *npy, const float *values, size_t n, vlm_error *error)
{
    if (n && fwrite(values, sizeof *values, n, npy->file.stream) != n)
        return vlm_fail(error, VLM_ERR_IO, "%s: cannot write (is the disk full?)", npy->file.path);
    npy->values += n;
    return VLM_OK;
}

vlm_status vlm_npy_close(vlm_npy_writer *npy, vlm_error *error)
{
    size_t row = 1, wanted;
    for (size_t i = 1; i < npy->n_dims; i++)
        row *= npy->shape[i];
    vlm_status status = VLM_OK;
    if (npy->growing) {
        npy->shape[0] = row ? npy->values / row : 0;
        char header[HEADER_MAX];
        size_t size = make_header(header, npy);
        if (fflush(npy->file.stream) != 0 || fseek(npy->file.stream, 0, SEEK_SET) != 0 || fwrite(header, 1, size, npy->file.stream) != size)
            status = vlm_fail(error, VLM_ERR_IO, "%s: cannot write (is the disk full?)", npy->file.path);
    }
    wanted = npy->n_dims ? npy->shape[0] * row : 1;
    if (status == VLM_OK && npy->values != wanted)
        status = vlm_fail(error, VLM_ERR_MISMATCH, "%s: %zu values written, the shape wants %zu", npy->file.path, npy->values, wanted);
    if (status == VLM_OK)
        status = vlm_writer_commit(&npy->file, error);
    vlm_npy_abort(npy);
    return status;
}

void vlm_npy_abort(vlm_npy_writer *npy)
{
    vlm_writer_abort(&npy->file);
    *npy = (vlm_npy_writer){0};
}

vlm_status vlm_npy_save(const char *path, const float *values, const size_t *shape, size_t n_dims, vlm_error *error)
{
    vlm_npy_writer npy;
    size_t n = 1;
    for (size_t i = 0; i < n_dims; i++)
        n *= shape[i];
    vlm_status status = vlm_npy_open(&npy, path, shape, n_dims, 0, error);
    if (status == VLM_OK)
        status = vlm_npy_write(&npy, values, n, error);
    if (status == VLM_OK)
        status = vlm_npy_close(&npy, error);
    vlm_npy_abort(&npy);
    return status;
}

/* ---- Reading ------------------------------------------------------------------------------------------- */

typedef struct npy_header {
    char order, kind; /* '<' '>' '|' '='; 'f' 'i' 'u' 'b' */
    size_t width;     /* bytes a value */
    bool fortran;
    size_t shape[VLM_NPY_DIMS], n_dims, n;
    size_t offset; /* of the values */
} npy_header;

/* Where the value of 'key' begins in the header's dictionary, which is NUL-terminated. */
static const char *find_value(const char *text, const char *key)
{
    const char *p = strstr(text, key);
    if (!p)
        return NULL;
    p += strlen(key);
    while (*p == ' ' || *p == ':')
        p++;
    return p;
}

static bool parse_shape(npy_header *h, const char *p)
{
    h->n = 1;
    if (*p++ != '(')
        return false;
    for (;;) {
        while (*p == ' ' || *p == ',')
            p++;
        if (*p == ')')
            return true;
        size_t size = 0;
        if (!isdigit((unsigned char)*p) || h->n_dims == VLM_NPY_DIMS)
            return false;
        for (; isdigit((unsigned char)*p); p++)
            if (!vlm_multiply(size, 10, &size) || __builtin_add_overflow(size, (size_t)(*p - '0'), &size))
                return false;
        h->shape[h->n_dims++] = size;
        if (!vlm_multiply(h->n, size, &h->n))
            return false;
    }
}

static vlm_status parse_header(npy_header *h, const vlm_mapping *file, const char *path, vlm_error *error)
{
    *h = (npy_header){0};
    const unsigned char *p = file->data;
    if (file->size < 12 || memcmp(p, "\x93NUMPY", 6) != 0 || p[6] < 1 || p[6] > 3)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: not a NumPy array file (.npy, versions 1 to 3)", path);
    size_t start = p[6] == 1 ? 10 : 12, length = p[8] | (size_t)p[9] << 8;
    if (p[6] > 1)
        length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (length > file->size - start || length > 1 << 20)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the header takes %zu bytes, the file has %zu", path, length, file->size);
    h->offset = start + length;
    char *text = vlm_copy_text((const char *)p + start, length);
    if (!text)
        return vlm_fail_memory(error, length, path);
    const char *descr = find_value(text, "'descr'"), *fortran = find_value(text, "'fortran_order'"), *shape = find_value(text, "'shape'");
    bool good = descr && fortran && shape && descr[0] == '\'' && strchr("<>|=", descr[1]) && descr[1] && strchr("fiub", descr[2]) && descr[2] && isdigit((unsigned char)descr[3]) &&
                descr[4] == '\'' && parse_shape(h, shape);
    if (good) {
        h->order = descr[1];
        h->kind = descr[2];
        h->width = (size_t)(descr[3] - '0');
        h->fortran = strncmp(fortran, "True", 4) == 0;
    }
    free(text);
    bool known = h->kind == 'f' ? h->width == 2 || h->width == 4 || h->width == 8 : h->kind == 'b' ? h->width == 1 : h->width == 1 || h->width == 2 || h->width == 4 || h->width == 8;
    if (!good || !known)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: its header does not describe an array of numbers of at most %d dimensions", path, VLM_NPY_DIMS);
    size_t bytes;
    if (!vlm_multiply(h->n, h->width, &bytes) || bytes > file->size - h->offset)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: truncated: %zu values of %zu bytes wanted, %zu bytes found", path, h->n, h->width, file->size - h->offset);
    return VLM_OK;
}

static float read_value(const npy_header *h, const unsigned char *p)
{
    unsigned char b[8] = {0};
    bool swap = h->order != '|' && h->order != '=' && h->order != machine_order;
    for (size_t i = 0; i < h->width; i++)
        b[i] = p[swap ? h->width - 1 - i : i];
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } v;
    memcpy(&v, b, sizeof v);
    bool is_signed = h->kind == 'i';
    switch (h->width) {
    case 1: return h->kind == 'b' ? v.u8 != 0 : is_signed ? (float)v.i8 : (float)v.u8;
    case 2: return h->kind == 'f' ? vlm_f16_to_f32(v.u16) : is_signed ? (float)v.i16 : (float)v.u16;
    case 4: return h->kind == 'f' ? v.f32 : is_signed ? (float)v.i32 : (float)v.u32;
    default: return h->kind == 'f' ? (float)v.f64 : is_signed ? (float)v.i64 : (float)v.u64;
    }
}

/* Where the i-th value of C order lies in a file of Fortran order. */
static size_t fortran_index(const npy_header *h, size_t i)
{
    size_t index = 0, rest = i, place[VLM_NPY_DIMS];
    for (size_t d = h->n_dims; d-- > 0; rest /= h->shape[d])
        place[d] = rest % h->shape[d];
    for (size_t d = h->n_dims; d-- > 0;)
        index = index * h->shape[d] + place[d];
    return index;
}

vlm_status vlm_npy_load(float **values, size_t *shape, size_t *n_dims, const char *path, vlm_error *error)
{
    *values = NULL;
    vlm_mapping file;
    vlm_status status = vlm_map_file(&file, path, error);
    if (status != VLM_OK)
        return status;
    npy_header h;
    status = parse_header(&h, &file, path, error);
    if (status == VLM_OK) {
        *values = vlm_alloc(h.n, sizeof **values);
        if (!*values)
            status = vlm_fail_memory(error, h.n * sizeof **values, path);
    }
    for (size_t i = 0; status == VLM_OK && i < h.n; i++)
        (*values)[i] = read_value(&h, file.data + h.offset + (h.fortran ? fortran_index(&h, i) : i) * h.width);
    if (status == VLM_OK) {
        memcpy(shape, h.shape, h.n_dims * sizeof *shape);
        *n_dims = h.n_dims;
    }
    vlm_unmap(&file);
    return status;
}
