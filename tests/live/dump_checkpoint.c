/* Print a checkpoint's tensors, an object a line, for tests/live/formats.py: name, type, shape and the CRC-32
 * of the bytes. Exit 1 with the error on stderr when it does not open. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "formats/checkpoint.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: %s FOLDER|FILE\n", argv[0]), 2;
    vlm_checkpoint *checkpoint;
    vlm_error error;
    if (vlm_checkpoint_open(&checkpoint, argv[1], &error) != VLM_OK)
        return fprintf(stderr, "%s\n", error.message), 1;
    for (size_t i = 0; i < vlm_checkpoint_count(checkpoint); i++) {
        const vlm_entry *entry = vlm_checkpoint_at(checkpoint, i);
        json_t *shape = json_array();
        for (size_t d = 0; d < entry->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)entry->shape[d]));
        json_t *line = json_pack("{s:s, s:s, s:o, s:I}", "name", entry->name, "type", entry->type_name, "shape", shape, "crc",
                                 (json_int_t)crc32_z(0, entry->data, entry->bytes));
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(line);
    }
    vlm_checkpoint_close(checkpoint);
    return 0;
}
