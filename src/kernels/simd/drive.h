/* The loops around the tiles of a product, for every type of weights and on any ISA. Needs simd/finish.h before it.
 *
 * Rows go in blocks whose part of x stays in the second-level cache while all panels pass by; a block's rows go in
 * tiles of even height, so that none is much lower than the others (50 rows are 13, 13, 12, 12, not 14, 14, 14, 8).
 * While the tiles of one panel run they fetch the next one from memory, each its share: the hardware does not foresee
 * that a panel which is read several times ends. */
#ifndef VLM_KERNELS_SIMD_DRIVE_H
#define VLM_KERNELS_SIMD_DRIVE_H

enum { X_BLOCK_BYTES = 512 * 1024 }; /* of x, half of a usual second-level cache */

/* One call of a tile function: rows `rows` of x by the panel, or by up to `panels` of them when it likes. */
typedef struct tile_job {
    tile_out out;
    const char *x;     /* the first row */
    size_t x_row, x_k; /* strides: bytes between rows; what x_k means is the tile's affair */
    const char *panel;
    size_t panel_bytes; /* from this panel to the next */
    size_t k, rows, panels;
} tile_job;

/* Returns how many panels it did. */
typedef size_t tile_function(const tile_job *job);

typedef struct product {
    tile_function *run;
    size_t tallest;    /* rows of a tile at most */
    size_t step_bytes; /* of a panel, in one turn of the tile's loop: its prefetch comes once a turn */
    const void *x;
    size_t x_row, x_k;
    size_t x_row_bytes; /* what a row of x takes in the cache */
    const void *panels;
    size_t panel_bytes;
} product;

static void multiply_block(const product *p, tile_job job, size_t m)
{
    const size_t n_panels = (job.out.columns + PANEL - 1) / PANEL;
    const size_t n_tiles = (m + p->tallest - 1) / p->tallest, height = m / n_tiles, higher = m % n_tiles;
    const size_t step_lines = p->step_bytes / 64, lines = (step_lines + n_tiles - 1) / n_tiles;
    for (size_t panel = 0, done = 1; panel < n_panels; panel += done) {
        tile_job at = job;
        at.panel += panel * p->panel_bytes;
        at.panels = n_tiles == 1 ? n_panels - panel : 1;
        at.out.y += panel * PANEL;
        at.out.column += panel * PANEL;
        at.out.columns -= panel * PANEL;
        for (size_t t = 0; t < n_tiles; t++) {
            at.rows = height + (t < higher);
            at.out.lines = panel + 1 < n_panels && t * lines < step_lines ? lines : 0;
            at.out.ahead = at.panel + p->panel_bytes + t * lines * (p->panel_bytes / step_lines);
            done = p->run(&at);
            at.x += at.rows * p->x_row;
            at.out.y += at.rows * at.out.ldy;
            at.out.row += at.rows;
        }
    }
}

static void multiply_tiles(const product *p, float *y, size_t ldy, size_t m, size_t n, size_t k,
                           const vlm_epilogue *epilogue)
{
    if (m == 0 || n == 0)
        return;
    const size_t fitting = X_BLOCK_BYTES / (p->x_row_bytes + 1) / p->tallest, tiles = fitting < 2 ? 2 : fitting;
    const size_t n_blocks = (m + tiles * p->tallest - 1) / (tiles * p->tallest);
    for (size_t b = 0, row = 0; b < n_blocks; b++) {
        size_t rows = m / n_blocks + (b < m % n_blocks);
        tile_job job = {.out = {.y = y + row * ldy, .ldy = ldy, .row = row, .columns = n, .epilogue = epilogue},
                        .x = (const char *)p->x + row * p->x_row,
                        .x_row = p->x_row,
                        .x_k = p->x_k,
                        .panel = p->panels,
                        .panel_bytes = p->panel_bytes,
                        .k = k};
        multiply_block(p, job, rows);
        row += rows;
    }
}

#endif
