/* NumPy's .npy files: one array of float32 written row by row, or read whole. Format 1.0, C order,
 * little-endian (numpy.lib.format). */
#ifndef VLM_FORMATS_NPY_H
#define VLM_FORMATS_NPY_H

#include <stddef.h>

#include "base/file.h"

enum { VLM_NPY_DIMS = 8 }; /* at most */

/* Writing. The first size may be unknown until the end (a row for each input that succeeded): give 0 as
 * shape[0] with `growing`; rows are counted and the header is written last. */
typedef struct vlm_npy_writer {
    vlm_writer file;
    size_t shape[VLM_NPY_DIMS], n_dims;
    size_t values; /* written so far */
    int growing;
} vlm_npy_writer;

vlm_status vlm_npy_open(vlm_npy_writer *npy, const char *path, const size_t *shape, size_t n_dims, int growing, vlm_error *error);
vlm_status vlm_npy_write(vlm_npy_writer *npy, const float *values, size_t n, vlm_error *error);
/* The file appears. Fewer or more values than the shape says is VLM_ERR_MISMATCH, and no file. */
vlm_status vlm_npy_close(vlm_npy_writer *npy, vlm_error *error);
/* Drop what was written. Safe after close and on a zeroed writer. */
void vlm_npy_abort(vlm_npy_writer *npy);
/* All at once. */
vlm_status vlm_npy_save(const char *path, const float *values, const size_t *shape, size_t n_dims, vlm_error *error);

/* Reading: float32, float64, float16, integers or bool, either byte order, C or Fortran order -> float32 in
 * C order, in fresh memory (free()). */
vlm_status vlm_npy_load(float **values, size_t *shape, size_t *n_dims, const char *path, vlm_error *error);

#endif
