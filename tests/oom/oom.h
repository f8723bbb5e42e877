/* Out of memory on purpose: run an operation once to count its allocations, then once for each with that one
 * failing, and once for each with that one and all after it failing. Every time it must succeed or report
 * VLM_ERR_MEMORY, and leave no block behind.
 *
 * A program that includes this defines malloc and its kin, and so gets the allocations of every library it
 * uses (jansson, zlib, PCRE2 ...). Under a sanitizer, which defines them itself, the linker's --wrap gives us
 * those of libvlm alone (tests/CMakeLists.txt), and the sanitizer watches what the error paths do.
 * Include it in one file of a program, after cmocka. OOM_STOP=N in the environment stops a debugger at the N-th
 * allocation of the first operation that reaches it. */
#ifndef TESTS_OOM_H
#define TESTS_OOM_H

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vlm/error.h"

#ifdef VLM_OOM_WRAP
enum { OOM_SEES_ALL = false }; /* a block may be a library's and freed by us: the sanitizer counts leaks, at the end */
#define OOM_OURS(name) __wrap_##name
#define OOM_REAL(name) __real_##name
int __real_posix_memalign(void **block, size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **block, size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
#else
enum { OOM_SEES_ALL = true };
#define OOM_OURS(name) name
#define OOM_REAL(name) __libc_##name
void *__libc_memalign(size_t alignment, size_t size);
#endif
void *OOM_REAL(malloc)(size_t size);
void *OOM_REAL(calloc)(size_t count, size_t size);
void *OOM_REAL(realloc)(void *block, size_t size);
void OOM_REAL(free)(void *block);
#ifdef VLM_OOM_WRAP
void *OOM_OURS(malloc)(size_t size);
void *OOM_OURS(calloc)(size_t count, size_t size);
void *OOM_OURS(realloc)(void *block, size_t size);
void OOM_OURS(free)(void *block);
#endif

static struct {
    atomic_bool counting;  /* an operation runs */
    atomic_bool lasting;   /* all after the failing one fail too */
    atomic_size_t asked;   /* allocations since the operation began */
    atomic_size_t failing; /* which of them fails; SIZE_MAX: none */
    atomic_size_t live;    /* blocks allocated and not freed, since the program began */
    size_t stop;
} oom = {.failing = SIZE_MAX, .stop = SIZE_MAX};

/* The build hides symbols; the libraries must see these. */
#define OOM_SEEN __attribute__((visibility("default")))

/* Does this allocation fail? */
static bool oom_strikes(void)
{
    if (!atomic_load(&oom.counting))
        return false;
    size_t index = atomic_fetch_add(&oom.asked, 1), failing = atomic_load(&oom.failing);
    if (index != failing && !(index > failing && atomic_load(&oom.lasting)))
        return false;
    if (index == oom.stop)
        raise(SIGTRAP);
    errno = ENOMEM;
    return true;
}

static void *oom_counted(void *block)
{
    if (block)
        atomic_fetch_add(&oom.live, 1);
    return block;
}

OOM_SEEN void *OOM_OURS(malloc)(size_t size)
{
    return oom_strikes() ? NULL : oom_counted(OOM_REAL(malloc)(size));
}

OOM_SEEN void *OOM_OURS(calloc)(size_t count, size_t size)
{
    return oom_strikes() ? NULL : oom_counted(OOM_REAL(calloc)(count, size));
}

OOM_SEEN void *OOM_OURS(realloc)(void *block, size_t size)
{
    if (oom_strikes())
        return NULL;
    void *resized = OOM_REAL(realloc)(block, size);
    if (!block)
        oom_counted(resized);
    else if (!size && !resized)
        atomic_fetch_sub(&oom.live, 1);
    return resized;
}

OOM_SEEN void OOM_OURS(free)(void *block)
{
    if (block)
        atomic_fetch_sub(&oom.live, 1);
    OOM_REAL(free)(block);
}

OOM_SEEN int OOM_OURS(posix_memalign)(void **block, size_t alignment, size_t size)
{
    if (oom_strikes())
        return ENOMEM;
#ifdef VLM_OOM_WRAP
    int result = __real_posix_memalign(block, alignment, size);
    if (result == 0)
        oom_counted(*block);
    return result;
#else
    *block = oom_counted(__libc_memalign(alignment, size));
    return *block ? 0 : ENOMEM;
#endif
}

OOM_SEEN void *OOM_OURS(aligned_alloc)(size_t alignment, size_t size)
{
#ifdef VLM_OOM_WRAP
    return oom_strikes() ? NULL : oom_counted(__real_aligned_alloc(alignment, size));
#else
    return oom_strikes() ? NULL : oom_counted(__libc_memalign(alignment, size));
#endif
}

#ifndef VLM_OOM_WRAP
void *memalign(size_t alignment, size_t size);

OOM_SEEN void *memalign(size_t alignment, size_t size)
{
    return oom_strikes() ? NULL : oom_counted(__libc_memalign(alignment, size));
}
#endif

/* Do the whole of it: make, use, free. error is the operation's to fill. */
typedef vlm_status oom_operation(void *argument, vlm_error *error);

/* One run with allocation `failing` failing; *left is how many blocks it left behind. */
static vlm_status oom_try(oom_operation *operation, void *argument, size_t failing, bool lasting, vlm_error *error, long *left)
{
    memset(error, 0, sizeof *error);
    atomic_store(&oom.failing, failing);
    atomic_store(&oom.lasting, lasting);
    atomic_store(&oom.asked, 0);
    size_t before = atomic_load(&oom.live);
    atomic_store(&oom.counting, true);
    vlm_status status = operation(argument, error);
    atomic_store(&oom.counting, false);
    *left = (long)(atomic_load(&oom.live) - before);
    return status;
}

/* Fail each allocation of the operation in turn; at most `most` of them, evenly spread, when there are more. */
static void oom_run(const char *what, oom_operation *operation, void *argument, size_t most)
{
    vlm_error error;
    long left;
    const char *stop = getenv("OOM_STOP");
    oom.stop = stop ? (size_t)strtoull(stop, NULL, 10) : SIZE_MAX;
    for (int i = 0; i < 2; i++) /* the libraries' own first-time allocations are no leaks */
        if (oom_try(operation, argument, SIZE_MAX, false, &error, &left) != VLM_OK)
            fail_msg("%s: %s", what, error.message);
    if (left && OOM_SEES_ALL)
        fail_msg("%s: %ld blocks left behind with nothing failing", what, left);
    size_t count = atomic_load(&oom.asked), step = count > most ? (count + most - 1) / most : 1;
    if (!count && OOM_SEES_ALL)
        fail_msg("%s: it allocates nothing, so nothing is tested", what);
    for (size_t failing = 0; failing < count; failing += step)
        for (int lasting = 0; lasting < 2; lasting++) {
            vlm_status status = oom_try(operation, argument, failing, lasting, &error, &left);
            if (status != VLM_OK && (status != VLM_ERR_MEMORY || error.status != status || !error.message[0]))
                fail_msg("%s: allocation %zu of %zu%s fails: status %d, \"%s\"; out of memory is wanted", what, failing, count,
                         lasting ? " and all after it" : "", status, error.message);
            if (left && OOM_SEES_ALL)
                fail_msg("%s: allocation %zu of %zu%s fails: %ld blocks left behind", what, failing, count,
                         lasting ? " and all after it" : "", left);
        }
    print_message("%s: %zu allocations\n", what, count);
}

#endif
