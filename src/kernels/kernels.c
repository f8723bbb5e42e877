/* Choose the table of kernels for this CPU from the rows of isa.def.
 * A ladder: each table begins as the C one, then the row's vlm_kernels_fill_<name> replaces what it has.
 * Trap: even a function that only fills a table is compiled with the row's flags, so it is called only when
 * the CPU test said yes. */
#include "kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/fill.h"

enum { MAX_ROWS = 16 };

typedef struct isa_row {
    const char *name;
    bool usable;
    vlm_kernels table; /* only its name is set when not usable */
} isa_row;

static isa_row rows[MAX_ROWS];
static size_t n_rows;
static const vlm_kernels *chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void add_row(const char *name, bool usable, void (*fill)(vlm_kernels *))
{
    if (n_rows == MAX_ROWS)
        return;
    isa_row *row = &rows[n_rows++];
    row->name = name;
    row->usable = usable;
    if (usable) {
        vlm_kernels_fill_c(&row->table);
        fill(&row->table);
    }
    row->table.isa = name;
}

/* CMake defines VLM_HAVE_ISA_<name> as 1 for the rows that it compiles. TAKE_IF picks `yes` for those and
 * `no` for the others: only a defined flag turns SHIFT_<flag> into a comma that moves `yes` to second place. */
#define SHIFT_1 ,
#define SECOND(first, second, ...) second
#define SECOND_OF(...) SECOND(__VA_ARGS__)
#define JOIN(a, b) a##b
#define TAKE_IF(flag, yes, no) SECOND_OF(JOIN(SHIFT_, flag) yes, no, )
#define ADD_ROW(name, test) add_row(#name, test, vlm_kernels_fill_##name);
#define SKIP_ROW(name, test)
#define VLM_ISA(name, processor, folder, test, flags) TAKE_IF(VLM_HAVE_ISA_##name, ADD_ROW, SKIP_ROW)(name, test)

static void choose(void)
{
#include "kernels/isa.def"

    const char *wanted = getenv("VLM_ISA");
    for (size_t i = 0; i < n_rows; i++) {
        if (!rows[i].usable)
            continue;
        if (!chosen)
            chosen = &rows[i].table; /* rows stand best first */
        if (wanted && strcmp(wanted, rows[i].name) == 0)
            chosen = &rows[i].table;
    }
}

const vlm_kernels *vlm_kernels_get(void)
{
    pthread_once(&once, choose);
    return chosen;
}

const vlm_kernels *vlm_kernels_at(size_t i, const char **name, bool *usable)
{
    pthread_once(&once, choose);
    if (i >= n_rows)
        return NULL;
    if (name)
        *name = rows[i].name;
    if (usable)
        *usable = rows[i].usable;
    return &rows[i].table;
}
