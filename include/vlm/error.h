/* Errors: a status, and the caller's own struct with a sentence in it.
 * Every function that can fail returns a vlm_status and fills the vlm_error it was given (NULL allowed).
 * The sentence names the file or argument, what was found, what was wanted and, where there is one, the remedy. */
#ifndef VLM_ERROR_H
#define VLM_ERROR_H

#if defined(VLM_BUILD)
#define VLM_API __attribute__((visibility("default")))
#else
#define VLM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlm_status {
    VLM_OK = 0,
    VLM_ERR_ARGUMENT,    /* the call itself makes no sense: an unknown option value, a NULL, an empty list */
    VLM_ERR_IO,          /* the system refused: no such file, no permission, disk full */
    VLM_ERR_FORMAT,      /* the bytes are not what their format requires: truncated, inconsistent, hostile */
    VLM_ERR_UNSUPPORTED, /* well formed, but not something this version computes */
    VLM_ERR_MISMATCH,    /* two inputs contradict each other: a checkpoint and its config, a cache and its model */
    VLM_ERR_LIMIT,       /* larger than a stated limit */
    VLM_ERR_MEMORY,      /* an allocation failed */
    VLM_ERR_CANCELLED    /* a progress callback asked to stop */
} vlm_status;

typedef struct vlm_error {
    vlm_status status;
    char message[1024]; /* UTF-8, one line, NUL-terminated, cut if longer; empty when status is VLM_OK */
} vlm_error;

/* A short English name of a status ("bad format"), static storage. */
VLM_API const char *vlm_status_name(vlm_status status);

#ifdef __cplusplus
}
#endif
#endif
