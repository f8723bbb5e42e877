/* The hub's local cache, as huggingface_hub lays it out:
 *   models--ORG--NAME/refs/REVISION     a file that holds a commit
 *   models--ORG--NAME/snapshots/COMMIT/ the model's files, links into models--ORG--NAME/blobs
 * Matches huggingface_hub's try_to_load_from_cache, but for the newest snapshot when there is no refs/main.
 * Trap: a name becomes part of a path, and so does what a refs file holds: both are checked for ways out. */
#include "formats/hub.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

enum { LONGEST_NAME = 96, LONGEST_REVISION = 200 };

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* The cache's folder; free(). NULL: out of memory. */
static char *find_cache(void)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    vlm_text cache = {0};
    for (size_t i = 0; i < sizeof places / sizeof *places && !cache.length && !cache.failed; i++) {
        const char *value = environment(places[i].variable), *home = environment("HOME");
        if (!value)
            continue;
        if (home && value[0] == '~' && (value[1] == '/' || !value[1])) { /* a tilde that no shell has seen */
            vlm_text_puts(&cache, home);
            value++;
        }
        vlm_text_puts(&cache, value);
        vlm_text_puts(&cache, places[i].below);
    }
    if (!cache.length)
        vlm_text_puts(&cache, "/.cache/huggingface/hub"); /* no HOME: what an empty one would give */
    if (cache.failed) {
        vlm_text_free(&cache);
        return NULL;
    }
    return cache.data;
}

/* A part of a name that may become part of a path: letters, digits, "-", "_", "."; no "--", no "..", and neither of
 * "-" and "." at its ends. Slashes only where allowed, and then each part between them must be such a name. */
static bool is_safe(const char *name, size_t length, size_t slashes)
{
    for (size_t i = 0; i < length; i++) {
        char c = name[i], before = i ? name[i - 1] : '/', after = i + 1 < length ? name[i + 1] : '/';
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (c == '/') {
            if (!slashes-- || before == '/' || !i || i + 1 == length)
                return false;
        } else if (!letter && ((c != '-' && c != '.') || before == '/' || after == '/' || before == c)) {
            return false;
        }
    }
    return length > 0;
}

/* The first line of refs/REVISION, a commit's name, into fresh memory; NULL: there is no such ref. Here and
 * below, *memory becomes false when an allocation failed, so that it is not taken for "not there". */
static char *read_ref(const char *repository, const char *revision, bool *memory)
{
    vlm_text path = {0};
    vlm_mapping file = {0};
    char *commit = NULL;
    vlm_text_printf(&path, "%s/refs/%s", repository, revision);
    if (!path.failed && vlm_map_file(&file, path.data, NULL) == VLM_OK) {
        size_t length = 0;
        while (length < file.size && length < LONGEST_NAME && file.data[length] > ' ')
            length++;
        if (is_safe((const char *)file.data, length, 0)) {
            commit = vlm_copy_text((const char *)file.data, length);
            *memory &= commit != NULL;
        }
        vlm_unmap(&file);
    }
    *memory &= !path.failed;
    vlm_text_free(&path);
    return commit;
}

/* repository/snapshots/COMMIT if that is a folder, else NULL; free(). */
static char *snapshot_of(const char *repository, const char *commit, bool *memory)
{
    vlm_text path = {0};
    vlm_text_printf(&path, "%s/snapshots/%s", repository, commit);
    if (!path.failed && vlm_is_folder(path.data))
        return path.data;
    *memory &= !path.failed;
    vlm_text_free(&path);
    return NULL;
}

/* The snapshot that changed last, for a cache without refs/main (a copy, or one filled by commit). */
static char *newest_snapshot(const char *repository, bool *memory)
{
    char *folder = vlm_join_path(repository, "snapshots"), **names = NULL, *newest = NULL;
    size_t count = 0;
    struct timespec when = {0};
    vlm_status status = folder ? vlm_list_folder(&names, &count, folder, NULL) : VLM_ERR_MEMORY;
    *memory &= status != VLM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        char *path = snapshot_of(repository, names[i], memory);
        struct stat info;
        if (path && stat(path, &info) == 0 &&
            (!newest || info.st_mtim.tv_sec > when.tv_sec ||
             (info.st_mtim.tv_sec == when.tv_sec && info.st_mtim.tv_nsec > when.tv_nsec))) {
            free(newest);
            newest = path;
            path = NULL;
            when = info.st_mtim;
        }
        free(path);
        free(names[i]);
    }
    free(names);
    free(folder);
    return newest;
}

/* The snapshot of one repository at a revision (NULL: main, else the newest); NULL when it is not there. */
static char *find_snapshot(const char *repository, const char *revision, bool *memory)
{
    char *commit = read_ref(repository, revision ? revision : "main", memory);
    char *path = commit ? snapshot_of(repository, commit, memory) : NULL;
    free(commit);
    if (!path && revision && is_safe(revision, strlen(revision), 0))
        path = snapshot_of(repository, revision, memory); /* it is a commit itself */
    if (!path && !revision)
        path = newest_snapshot(repository, memory);
    return path;
}

/* cache/models--ORG--NAME for `prefix` and the name, each slash as two dashes; NULL: out of memory. */
static char *repository_of(const char *cache, const char *prefix, const char *name, size_t length)
{
    vlm_text path = {0};
    vlm_text_printf(&path, "%s/models--%s", cache, prefix);
    for (size_t i = 0; i < length; i++)
        vlm_text_append(&path, name[i] == '/' ? "--" : &name[i], name[i] == '/' ? 2 : 1);
    if (path.failed)
        vlm_text_free(&path);
    return path.data;
}

/* What to say of a name that is not in the cache. */
static vlm_status refuse(const char *model, const char *cache, const char *repository, const char *name, size_t length,
                         const char *revision, vlm_error *error)
{
    if (vlm_is_folder(repository))
        return vlm_fail(error, VLM_ERR_IO, "%s: the hub cache has this model, but not its revision %s (looked in %s)", model,
                        revision ? revision : "main", repository);
    return vlm_fail(error, VLM_ERR_IO, "%s: no such file or folder, and not in the hub cache %s (as %s); name a model's folder, or "
                    "fetch it: hf download %.*s", model, cache, strrchr(repository, '/') + 1, (int)length, name);
}

/* Look a well-formed name up in the cache: as it is, and as sentence-transformers' when it names no one. */
static vlm_status resolve_name(char **path, const char *model, const char *name, size_t length, const char *revision,
                               vlm_error *error)
{
    vlm_status status = VLM_OK;
    char *cache = find_cache();
    char *repository = cache ? repository_of(cache, "", name, length) : NULL;
    char *other = cache ? repository_of(cache, "sentence-transformers--", name, length) : NULL;
    bool memory = repository && other;
    if (memory)
        *path = find_snapshot(repository, revision, &memory);
    if (memory && !*path && !memchr(name, '/', length))
        *path = find_snapshot(other, revision, &memory);
    if (!memory) {
        free(*path);
        *path = NULL;
        status = vlm_fail_memory(error, length, model);
    } else if (!*path) {
        status = refuse(model, cache, repository, name, length, revision, error);
    }
    free(other);
    free(repository);
    free(cache);
    return status;
}

vlm_status vlm_hub_resolve(char **path, const char *model, vlm_error *error)
{
    *path = NULL;
    if (!*model)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "an empty model name; a folder, a file or a hub name is wanted");
    struct stat info;
    bool found = stat(model, &info) == 0;
    if (!found && errno != ENOENT && errno != ENOTDIR)
        return vlm_fail(error, VLM_ERR_IO, "%s: cannot be reached: %s", model, strerror(errno));
    if (found) {
        *path = vlm_copy_text(model, strlen(model));
        return *path ? VLM_OK : vlm_fail_memory(error, strlen(model), model);
    }
    const char *name = strncmp(model, "hf-hub:", 7) == 0 ? model + 7 : model;
    const char *at = strchr(name, '@'), *revision = at ? at + 1 : NULL;
    size_t length = at ? (size_t)(at - name) : strlen(name);
    if (length > LONGEST_NAME || !is_safe(name, length, 1) ||
        (revision && (strlen(revision) > LONGEST_REVISION || !is_safe(revision, strlen(revision), SIZE_MAX))))
        return vlm_fail(error, VLM_ERR_IO, "%s: no such file or folder, and not a name that the hub allows (ORG/NAME, or "
                        "ORG/NAME@REVISION)", model);
    return resolve_name(path, model, name, length, revision, error);
}
