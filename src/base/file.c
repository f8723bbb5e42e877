/* Files: mapped for reading, written beside and renamed. */
#define _GNU_SOURCE
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/memory.h"

vlm_status vlm_map_file(vlm_mapping *mapping, const char *path, vlm_error *error)
{
    *mapping = (vlm_mapping){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hang us */
    if (fd < 0)
        return vlm_fail(error, VLM_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    vlm_status status = VLM_OK;
    if (fstat(fd, &info) != 0)
        status = vlm_fail(error, VLM_ERR_IO, "%s: cannot stat: %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        status = vlm_fail(error, VLM_ERR_IO, "%s: is a folder; a file is wanted", path);
    else if (!S_ISREG(info.st_mode))
        status = vlm_fail(error, VLM_ERR_IO, "%s: is not a regular file", path);
    else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = vlm_fail(error, VLM_ERR_IO, "%s: cannot map %lld bytes: %s", path, (long long)info.st_size, strerror(errno));
        else
            *mapping = (vlm_mapping){data, (size_t)info.st_size, true};
    }
    close(fd);
    return status;
}

void vlm_unmap(vlm_mapping *mapping)
{
    if (mapping->mapped)
        munmap((void *)mapping->data, mapping->size);
    *mapping = (vlm_mapping){0};
}

bool vlm_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool vlm_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool vlm_folder_has(const char *folder, const char *name)
{
    int fd = open(*folder ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat info;
    bool has = fd >= 0 && fstatat(fd, name, &info, 0) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

char *vlm_join_path(const char *folder, const char *name)
{
    size_t a = strlen(folder), b = strlen(name);
    char *path = malloc(a + b + 2);
    if (!path)
        return NULL;
    memcpy(path, folder, a);
    if (a && folder[a - 1] != '/')
        path[a++] = '/';
    memcpy(path + a, name, b + 1);
    return path;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return vlm_copy_text(".", 1);
    return vlm_copy_text(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Follow a link, so that writing through it replaces the file it names and not the link. */
static char *final_target(const char *path)
{
    char *real = realpath(path, NULL);
    return real ? real : vlm_copy_text(path, strlen(path));
}

/* A new hidden file in the folder, its name written to `name` [room]; -1 and errno on failure. The mode is left
 * to the process's mask. */
static int create_beside(char *name, size_t room, const char *folder)
{
    static atomic_uint counter;
    int fd = -1;
    for (int tries = 0; tries < 100 && fd < 0; tries++) {
        snprintf(name, room, "%s/.vlm-%ld-%u", folder, (long)getpid(), atomic_fetch_add(&counter, 1));
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    return fd;
}

/* A pipe or a device (/dev/stdout, /dev/null) cannot be replaced by a rename: it is written to as it is. */
static vlm_status open_device(vlm_writer *writer, vlm_error *error)
{
    free(writer->temporary);
    writer->temporary = NULL;
    writer->stream = fopen(writer->path, "wb");
    if (writer->stream)
        return VLM_OK;
    vlm_status status = vlm_fail(error, VLM_ERR_IO, "%s: cannot write: %s", writer->path, strerror(errno));
    vlm_writer_abort(writer);
    return status;
}

vlm_status vlm_writer_open(vlm_writer *writer, const char *path, vlm_error *error)
{
    *writer = (vlm_writer){0};
    char *folder = NULL;
    writer->path = final_target(path);
    folder = writer->path ? folder_of(writer->path) : NULL;
    size_t room = folder ? strlen(folder) + 48 : 0;
    writer->temporary = folder ? malloc(room) : NULL;
    if (!writer->temporary) {
        free(folder);
        vlm_writer_abort(writer);
        return vlm_fail_memory(error, 4096, "a file name");
    }
    struct stat old;
    bool exists = stat(writer->path, &old) == 0;
    if (exists && !S_ISREG(old.st_mode) && !S_ISDIR(old.st_mode)) {
        free(folder);
        return open_device(writer, error);
    }
    if (exists && S_ISDIR(old.st_mode)) {
        free(folder);
        free(writer->temporary);
        writer->temporary = NULL;
        vlm_writer_abort(writer);
        return vlm_fail(error, VLM_ERR_IO, "%s: is a folder; a file's name is wanted", path);
    }
    int fd = create_beside(writer->temporary, room, folder);
    int reason = errno;
    free(folder);
    if (fd < 0) {
        free(writer->temporary);
        writer->temporary = NULL;
        vlm_writer_abort(writer);
        return vlm_fail(error, VLM_ERR_IO, "%s: cannot write beside it: %s", path, strerror(reason));
    }
    if (exists)
        fchmod(fd, old.st_mode & 0777); /* a file that is replaced keeps its permissions */
    writer->stream = fdopen(fd, "wb");
    if (!writer->stream) {
        close(fd);
        vlm_writer_abort(writer);
        return vlm_fail_memory(error, 4096, "writing a file");
    }
    return VLM_OK;
}

vlm_status vlm_writer_commit(vlm_writer *writer, vlm_error *error)
{
    vlm_status status = VLM_OK;
    errno = 0;
    bool good = !ferror(writer->stream) && fflush(writer->stream) == 0 && (!writer->temporary || fsync(fileno(writer->stream)) == 0);
    int reason = errno;
    if (fclose(writer->stream) != 0 && good) {
        good = false;
        reason = errno;
    }
    writer->stream = NULL;
    if (good && writer->temporary && rename(writer->temporary, writer->path) != 0) {
        good = false;
        reason = errno;
    }
    if (!good) {
        status = vlm_fail(error, VLM_ERR_IO, "%s: cannot write: %s; nothing was changed", writer->path,
                          reason ? strerror(reason) : "a write failed (is the disk full?)");
    } else if (writer->temporary) {
        free(writer->temporary);
        writer->temporary = NULL;
        char *folder = folder_of(writer->path);
        int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (fd >= 0) { /* the rename itself must survive a power cut */
            fsync(fd);
            close(fd);
        }
        free(folder);
    }
    vlm_writer_abort(writer);
    return status;
}

void vlm_writer_abort(vlm_writer *writer)
{
    if (writer->stream)
        fclose(writer->stream);
    if (writer->temporary)
        unlink(writer->temporary);
    free(writer->temporary);
    free(writer->path);
    *writer = (vlm_writer){0};
}

vlm_status vlm_write_file(const char *path, const void *bytes, size_t size, vlm_error *error)
{
    vlm_writer writer;
    vlm_status status = vlm_writer_open(&writer, path, error);
    if (status != VLM_OK)
        return status;
    if (size)
        fwrite(bytes, 1, size, writer.stream);
    return vlm_writer_commit(&writer, error);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

vlm_status vlm_list_folder(char ***names, size_t *count, const char *path, vlm_error *error)
{
    *names = NULL;
    *count = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return vlm_fail(error, VLM_ERR_IO, "%s: cannot list: %s", path, strerror(errno));
    char **list = NULL;
    size_t n = 0, capacity = 0;
    vlm_status status = VLM_OK;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        char *name = vlm_copy_text(entry->d_name, strlen(entry->d_name));
        if (!name || !vlm_grow(&list, &capacity, n + 1, sizeof *list)) {
            free(name);
            status = vlm_fail_memory(error, 4096, "listing a folder");
            break;
        }
        list[n++] = name;
    }
    if (status == VLM_OK && errno)
        status = vlm_fail(error, VLM_ERR_IO, "%s: cannot list: %s", path, strerror(errno));
    closedir(folder);
    if (status != VLM_OK) {
        while (n)
            free(list[--n]);
        free(list);
        return status;
    }
    if (n)
        qsort(list, n, sizeof *list, compare_names);
    *names = list;
    *count = n;
    return VLM_OK;
}
