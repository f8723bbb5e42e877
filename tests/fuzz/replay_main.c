/* A main for a fuzz target without libFuzzer: run it over files, and over the files in folders, each in a block
 * of exactly its size, so that any compiler's sanitizers watch the corpus. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fuzz.h"

static size_t replayed;

static int replay(const char *path)
{
    if (vlm_is_folder(path)) {
        char **names;
        size_t count;
        vlm_error error;
        if (vlm_list_folder(&names, &count, path, &error) != VLM_OK)
            return fprintf(stderr, "%s\n", error.message), 1;
        int status = 0;
        for (size_t i = 0; i < count; i++) {
            char *inner = vlm_join_path(path, names[i]);
            status |= inner ? replay(inner) : 1;
            free(inner);
            free(names[i]);
        }
        free(names);
        return status;
    }
    vlm_mapping file;
    vlm_error error;
    if (vlm_map_file(&file, path, &error) != VLM_OK)
        return fprintf(stderr, "%s\n", error.message), 1;
    unsigned char *copy = malloc(file.size ? file.size : 1);
    if (copy && file.size)
        memcpy(copy, file.data, file.size);
    if (copy)
        LLVMFuzzerTestOneInput(copy, file.size);
    replayed++;
    free(copy);
    vlm_unmap(&file);
    return copy ? 0 : 1;
}

int main(int argc, char **argv)
{
    int status = 0;
    for (int i = 1; i < argc; i++)
        status |= replay(argv[i]);
    printf("%zu inputs\n", replayed);
    return status || !replayed; /* a corpus that was not found is no success */
}
