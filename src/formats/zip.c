/* Zip directories (APPNOTE 6.3, with zip64). From the end: the end record gives the place of the central
 * directory, whose records give each member's name, sizes and the place of its local header, behind which
 * its bytes stand. Every place is checked against the archive's size.
 * Trap: the name and extra field of the local header have their own lengths; PyTorch pads the extra field so
 * that the data begins at a multiple of 64, and the central record does not say by how much. */
#include "formats/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"
#include "base/memory.h"

enum {
    LOCAL_HEADER = 30,
    CENTRAL_HEADER = 46,
    END_RECORD = 22,
    END_LOCATOR_64 = 20,
    END_RECORD_64 = 56,
    LONGEST_COMMENT = 0xffff,
    LARGEST_GROWTH = 16 /* inflated bytes a byte of archive, beside a small allowance */
};

typedef struct directory {
    uint64_t count, size, offset;
} directory;

static uint32_t u16(const unsigned char *b)
{
    return (uint32_t)b[0] | (uint32_t)b[1] << 8;
}

static uint32_t u32(const unsigned char *b)
{
    return u16(b) | u16(b + 2) << 16;
}

static uint64_t u64(const unsigned char *b)
{
    return u32(b) | (uint64_t)u32(b + 4) << 32;
}

/* Do `length` bytes at `offset` lie inside `size`? */
static bool inside(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset <= size && length <= size - offset;
}

bool vlm_zip_detect(const void *bytes, size_t size)
{
    return size >= END_RECORD && (memcmp(bytes, "PK\3\4", 4) == 0 || memcmp(bytes, "PK\5\6", 4) == 0);
}

/* The end record stands in the last 64 KiB, behind it only a comment of the length that it states. */
static bool find_directory(directory *found, const unsigned char *b, size_t size)
{
    size_t lowest = size > END_RECORD + LONGEST_COMMENT ? size - END_RECORD - LONGEST_COMMENT : 0;
    size_t at = size < END_RECORD ? 0 : size - END_RECORD + 1;
    while (at > lowest) {
        at--;
        if (memcmp(b + at, "PK\5\6", 4) != 0 || u16(b + at + 20) != size - at - END_RECORD)
            continue;
        *found = (directory){u16(b + at + 10), u32(b + at + 12), u32(b + at + 16)};
        if (at >= END_LOCATOR_64 && memcmp(b + at - END_LOCATOR_64, "PK\6\7", 4) == 0) {
            uint64_t place = u64(b + at - END_LOCATOR_64 + 8);
            if (!inside(place, END_RECORD_64, size) || memcmp(b + place, "PK\6\6", 4) != 0)
                return false;
            *found = (directory){u64(b + place + 32), u64(b + place + 40), u64(b + place + 48)};
        }
        return inside(found->offset, found->size, size) && found->count <= found->size / CENTRAL_HEADER;
    }
    return false;
}

/* The zip64 extra field holds, in this order, those of the three whose 32-bit place is full of ones. */
static bool read_zip64(uint64_t *size, uint64_t *stored_size, uint64_t *offset, const unsigned char *extra, size_t length)
{
    uint64_t *fields[] = {size, stored_size, offset};
    while (length >= 4) {
        size_t field = u16(extra + 2);
        if (field > length - 4)
            return false;
        if (u16(extra) == 1) {
            size_t at = 4;
            for (size_t i = 0; i < 3; i++) {
                if (*fields[i] != 0xffffffff)
                    continue;
                if (at + 8 > field + 4)
                    return false;
                *fields[i] = u64(extra + at);
                at += 8;
            }
            return true;
        }
        extra += field + 4;
        length -= field + 4;
    }
    return true;
}

/* The member that the central record at *at describes; *at moves behind it. */
static vlm_status read_member(vlm_zip_member *member, size_t *at, size_t end, const unsigned char *b, size_t size,
                              const char *file, vlm_error *error)
{
    if (!inside(*at, CENTRAL_HEADER, end) || memcmp(b + *at, "PK\1\2", 4) != 0)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the zip directory is damaged", file);
    const unsigned char *record = b + *at;
    size_t name_length = u16(record + 28), extra_length = u16(record + 30), comment_length = u16(record + 32);
    if (!inside(*at + CENTRAL_HEADER, name_length + extra_length + comment_length, end))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the zip directory is damaged", file);
    const char *name = (const char *)record + CENTRAL_HEADER;
    *at += CENTRAL_HEADER + name_length + extra_length + comment_length;

    uint64_t stored_size = u32(record + 20), full_size = u32(record + 24), offset = u32(record + 42);
    unsigned flags = u16(record + 8), method = u16(record + 10);
    if (!read_zip64(&full_size, &stored_size, &offset, record + CENTRAL_HEADER + name_length, extra_length) ||
        !inside(offset, LOCAL_HEADER, size) || memcmp(b + offset, "PK\3\4", 4) != 0)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: zip member %.*s is not where the directory says", file, (int)name_length, name);
    if (flags & 1 || (method != 0 && method != 8))
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: zip member %.*s is encrypted, or packed by method %u", file,
                        (int)name_length, name, method);
    uint64_t start = offset + LOCAL_HEADER + u16(b + offset + 26) + u16(b + offset + 28);
    if (!inside(start, stored_size, size) || (method == 0 && stored_size != full_size))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: zip member %.*s goes beyond the file's end; was the file cut?", file,
                        (int)name_length, name);
    *member = (vlm_zip_member){.name = name, .name_length = name_length, .bytes = b + start, .stored_size = (size_t)stored_size,
                               .size = (size_t)full_size, .crc = u32(record + 16), .deflated = method == 8};
    return VLM_OK;
}

static int compare_members(const void *a, const void *b)
{
    const vlm_zip_member *x = a, *y = b;
    size_t shorter = x->name_length < y->name_length ? x->name_length : y->name_length;
    int order = memcmp(x->name, y->name, shorter);
    return order ? order : (x->name_length > y->name_length) - (x->name_length < y->name_length);
}

vlm_status vlm_zip_open(vlm_zip *zip, const void *bytes, size_t size, const char *file, vlm_error *error)
{
    *zip = (vlm_zip){.file = file, .budget = (size_t)64 << 20};
    size_t growth;
    if (!vlm_multiply(size, LARGEST_GROWTH, &growth) || __builtin_add_overflow(zip->budget, growth, &zip->budget))
        zip->budget = SIZE_MAX;
    directory found;
    if (!find_directory(&found, bytes, size))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a zip archive without a valid directory at its end; was the file cut?", file);
    zip->members = vlm_alloc((size_t)found.count, sizeof *zip->members);
    if (!zip->members)
        return vlm_fail_memory(error, (size_t)found.count * sizeof *zip->members, file);
    vlm_status status = VLM_OK;
    size_t at = (size_t)found.offset, end = at + (size_t)found.size;
    for (; zip->count < found.count && status == VLM_OK; zip->count++)
        status = read_member(&zip->members[zip->count], &at, end, bytes, size, file, error);
    if (status == VLM_OK && zip->count)
        qsort(zip->members, zip->count, sizeof *zip->members, compare_members);
    for (size_t i = 1; i < zip->count && status == VLM_OK; i++)
        if (compare_members(&zip->members[i - 1], &zip->members[i]) == 0)
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: two zip members are named %.*s", file,
                              (int)zip->members[i].name_length, zip->members[i].name);
    if (status != VLM_OK)
        vlm_zip_close(zip);
    return status;
}

void vlm_zip_close(vlm_zip *zip)
{
    free(zip->members);
    *zip = (vlm_zip){0};
}

vlm_zip_member *vlm_zip_find(const vlm_zip *zip, const char *name, size_t length)
{
    const vlm_zip_member key = {.name = name, .name_length = length};
    return zip->count ? bsearch(&key, zip->members, zip->count, sizeof *zip->members, compare_members) : NULL;
}

/* Raw deflate into exactly `size` bytes. */
static bool inflate_whole(unsigned char *out, size_t size, const unsigned char *in, size_t stored_size, bool *memory)
{
    z_stream stream = {.next_in = (Bytef *)in, .next_out = out}; /* an empty member gives neither a piece */
    int result = inflateInit2(&stream, -MAX_WBITS);
    *memory = result != Z_MEM_ERROR;
    if (result != Z_OK)
        return false;
    while (result == Z_OK) { /* zlib counts in 32 bits: feed it pieces */
        enum { PIECE = 1 << 30 };
        if (!stream.avail_in && stored_size) {
            stream.avail_in = (uInt)(stored_size < PIECE ? stored_size : PIECE);
            stream.next_in = (Bytef *)in;
            in += stream.avail_in;
            stored_size -= stream.avail_in;
        }
        if (!stream.avail_out && size) {
            stream.avail_out = (uInt)(size < PIECE ? size : PIECE);
            stream.next_out = out;
            out += stream.avail_out;
            size -= stream.avail_out;
        }
        result = inflate(&stream, Z_NO_FLUSH);
    }
    *memory = result != Z_MEM_ERROR;
    bool whole = result == Z_STREAM_END && !stream.avail_out && !size;
    inflateEnd(&stream);
    return whole;
}

vlm_status vlm_zip_read(const unsigned char **data, vlm_zip *zip, vlm_zip_member *member, vlm_arena *arena, vlm_error *error)
{
    *data = member->deflated ? member->inflated : member->bytes;
    if (*data)
        return VLM_OK;
    if (member->size > zip->budget)
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: zip member %.*s would inflate to %zu bytes, out of proportion to the archive",
                        zip->file, (int)member->name_length, member->name, member->size);
    unsigned char *out = vlm_arena_alloc(arena, member->size, 1);
    if (!out)
        return vlm_fail_memory(error, member->size, zip->file);
    bool memory = true;
    if (!inflate_whole(out, member->size, member->bytes, member->stored_size, &memory) ||
        crc32_z(0, out, member->size) != member->crc)
        return memory ? vlm_fail(error, VLM_ERR_FORMAT, "%s: zip member %.*s does not inflate to what the directory says",
                                 zip->file, (int)member->name_length, member->name)
                      : vlm_fail_memory(error, member->size, zip->file);
    zip->budget -= member->size;
    *data = member->inflated = out;
    return VLM_OK;
}
