/* PyTorch checkpoints. Three containers hold the same pickle:
 *   a zip archive (torch 1.6 on): NAME/data.pkl, and each storage as NAME/data/KEY, stored uncompressed;
 *   a TorchScript archive: the same, with a module object in place of the dictionary;
 *   the old stream: five pickles (magic, version, system, the object, storage keys), then the storages.
 * A pickle is a program for a stack machine. Ours knows the opcodes that torch.save writes, and knows calls
 * only as names in a table (`globals`): tensors, their storages, containers. Anything else is refused by name.
 * Trap: memo references make graphs out of trees, cycles too; so nothing here walks values recursively but
 * find_state_dict and add_module, which count their steps. */
#include "formats/pickle.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/zip.h"

enum {
    LARGEST_PICKLE = 256 << 20, /* bytes of a pickle; storages are not counted */
    LARGEST_HEAP = 512 << 20,   /* bytes of values that a pickle may make */
    LARGEST_STACK = 16 << 20,   /* values on the stack, or marks, or in the memo */
    DEEPEST_MODULE = 64,
    MOST_TENSORS = 1 << 20,
    LARGEST_GROWTH = 16 /* bytes of copied tensors a byte of file, beside a small allowance */
};

/* --- values -------------------------------------------------------------------------------------------- */

typedef enum value_kind {
    NONE,
    BOOLEAN,
    INTEGER,
    TEXT,   /* str */
    OPAQUE, /* a value that no tensor needs: bytes, floats, devices */
    TUPLE,
    LIST,
    DICT, /* items are key, value, key, value ... */
    GLOBAL,
    STORAGE,
    TENSOR,
    MODULE /* an instance of a TorchScript class; items as in DICT, once its state was set */
} value_kind;

/* Number types as torch names them: as a storage class, and as a dtype. */
typedef struct number_type {
    const char *storage, *dtype;
    vlm_dtype type;
    size_t size;
} number_type;

static const number_type number_types[] = {
    {"FloatStorage", "float32", VLM_F32, 4},
    {"HalfStorage", "float16", VLM_F16, 2},
    {"BFloat16Storage", "bfloat16", VLM_BF16, 2},
    {"DoubleStorage", "float64", VLM_F64, 8},
    {"LongStorage", "int64", VLM_I64, 8},
    {"IntStorage", "int32", VLM_I32, 4},
    {"ShortStorage", "int16", VLM_I16, 2},
    {"CharStorage", "int8", VLM_I8, 1},
    {"ByteStorage", "uint8", VLM_U8, 1},
    {"BoolStorage", "bool", VLM_BOOL, 1},
    {"UntypedStorage", NULL, VLM_U8, 1},
    {"ComplexFloatStorage", "complex64", VLM_DTYPES, 8},
    {"ComplexDoubleStorage", "complex128", VLM_DTYPES, 16},
    {"QInt8Storage", "qint8", VLM_DTYPES, 1},
    {"QUInt8Storage", "quint8", VLM_DTYPES, 1},
    {"QInt32Storage", "qint32", VLM_DTYPES, 4},
    {NULL, "uint16", VLM_DTYPES, 2},
    {NULL, "uint32", VLM_DTYPES, 4},
    {NULL, "uint64", VLM_DTYPES, 8},
    {NULL, "complex32", VLM_DTYPES, 4},
    {NULL, "float8_e4m3fn", VLM_DTYPES, 1},
    {NULL, "float8_e4m3fnuz", VLM_DTYPES, 1},
    {NULL, "float8_e5m2", VLM_DTYPES, 1},
    {NULL, "float8_e5m2fnuz", VLM_DTYPES, 1},
    {NULL, "float8_e8m0fnu", VLM_DTYPES, 1},
};
enum { N_NUMBER_TYPES = sizeof number_types / sizeof *number_types };

typedef struct value value;

typedef struct storage {
    const number_type *type;
    const char *key;
    size_t key_length;
    size_t n;           /* elements */
    size_t first;       /* old streams: this storage is a part of the one of that key, from this element on */
    size_t whole;       /* elements of the whole */
    const unsigned char *data; /* n elements; NULL until they are found */
} storage;

typedef struct tensor {
    const storage *storage;
    const number_type *type;
    size_t offset, n_dims, shape[VLM_ENTRY_DIMS], strides[VLM_ENTRY_DIMS]; /* in elements */
} tensor;

typedef enum global_role {
    DTYPE, /* torch.float32 ... */
    STORAGE_CLASS,
    MAKE_DICT,
    MAKE_SIZE,      /* torch.Size((...)) is the tuple itself */
    MAKE_PARAMETER, /* (tensor, ...) -> tensor */
    MAKE_TENSOR,    /* (storage, offset, size, strides, ...) */
    MAKE_TENSOR_V3, /* (storage, offset, size, strides, requires_grad, hooks, dtype, ...) */
    MAKE_TYPED,     /* (function, class, arguments, state): calls function */
    MAKE_LIST,      /* TorchScript's typed lists: (list) -> list */
    MAKE_OPAQUE,    /* harmless, and no tensor needs what it makes */
    MODULE_CLASS    /* TorchScript */
} global_role;

typedef struct known_global {
    const char *module, *name;
    global_role role;
} known_global;

static const known_global globals[] = {
    {"collections", "OrderedDict", MAKE_DICT},
    {"torch._utils", "_rebuild_tensor_v2", MAKE_TENSOR},
    {"torch._utils", "_rebuild_tensor", MAKE_TENSOR},
    {"torch._utils", "_rebuild_tensor_v3", MAKE_TENSOR_V3},
    {"torch._utils", "_rebuild_parameter", MAKE_PARAMETER},
    {"torch._utils", "_rebuild_parameter_with_state", MAKE_PARAMETER},
    {"torch._tensor", "_rebuild_from_type_v2", MAKE_TYPED},
    {"torch.nn.parameter", "Parameter", MAKE_PARAMETER},
    {"torch.nn.parameter", "Buffer", MAKE_PARAMETER},
    {"torch", "Tensor", MAKE_OPAQUE},
    {"torch", "Size", MAKE_SIZE},
    {"torch", "device", MAKE_OPAQUE},
    {"torch.serialization", "_get_layout", MAKE_OPAQUE},
    {"collections", "Counter", MAKE_DICT},
    {"builtins", "set", MAKE_OPAQUE},
    {"__builtin__", "set", MAKE_OPAQUE},
    {"builtins", "complex", MAKE_OPAQUE},
    {"__builtin__", "complex", MAKE_OPAQUE},
    {"builtins", "bytearray", MAKE_OPAQUE},
    {"_codecs", "encode", MAKE_OPAQUE},
    {"torch.jit._pickle", "build_intlist", MAKE_LIST},
    {"torch.jit._pickle", "build_doublelist", MAKE_LIST},
    {"torch.jit._pickle", "build_boollist", MAKE_LIST},
    {"torch.jit._pickle", "build_tensorlist", MAKE_LIST},
    {"torch.jit._pickle", "restore_type_tag", MAKE_LIST},
};
enum { N_GLOBALS = sizeof globals / sizeof *globals };

struct value {
    value_kind kind;
    union {
        int64_t integer; /* BOOLEAN too */
        struct {
            const char *data; /* in the pickle, not terminated */
            size_t length;
        } text;
        struct {
            value **data;
            size_t count, capacity;
        } items; /* TUPLE, LIST, DICT, MODULE */
        struct {
            global_role role;
            const number_type *type; /* DTYPE, STORAGE_CLASS */
        } global;
        storage *storage;
        tensor *tensor;
    };
};

/* --- the machine --------------------------------------------------------------------------------------- */

typedef struct machine {
    const unsigned char *bytes; /* the pickle (all of the file for the old stream) */
    size_t size, at;
    const char *file;
    vlm_zip *zip; /* where storages are; NULL: an old stream, they follow the pickle */
    const char *root;
    size_t root_length; /* the archive's folder, with its slash */
    vlm_arena *copies;  /* what outlives the machine: inflated storages */

    vlm_arena heap;
    value **stack, **memo;
    size_t *marks; /* heights of the stack */
    size_t n_stack, stack_capacity, n_memo, memo_capacity, next_memo, n_marks, marks_capacity;
    storage **storages; /* all that were named */
    size_t n_storages, storages_capacity;
    bool stopped;

    vlm_status status; /* the first failure; opcodes do nothing more after it */
    vlm_error *error;
} machine;

static value none = {.kind = NONE}, opaque = {.kind = OPAQUE};
static value truth[] = {{.kind = BOOLEAN, .integer = 0}, {.kind = BOOLEAN, .integer = 1}};

#define FAIL(m, code, ...)                                     \
    do {                                                       \
        if ((m)->status == VLM_OK)                             \
            (m)->status = vlm_fail((m)->error, code, __VA_ARGS__); \
    } while (0)

static void damaged(machine *m, const char *what)
{
    FAIL(m, VLM_ERR_FORMAT, "%s: damaged pickle at byte %zu: %s", m->file, m->at, what);
}

static void *heap_alloc(machine *m, size_t count, size_t size)
{
    if (m->heap.used > LARGEST_HEAP || count > LARGEST_HEAP / size) {
        FAIL(m, VLM_ERR_LIMIT, "%s: a pickle that builds more than %d MiB of values", m->file, LARGEST_HEAP >> 20);
        return NULL;
    }
    void *block = vlm_arena_alloc_zero(&m->heap, count, size);
    if (!block && m->status == VLM_OK)
        m->status = vlm_fail_memory(m->error, count * size, m->file);
    return block;
}

static value *new_value(machine *m, value_kind kind)
{
    value *v = heap_alloc(m, 1, sizeof *v);
    if (v)
        v->kind = kind;
    return v;
}

static void push(machine *m, value *v)
{
    if (!v || m->status != VLM_OK)
        return;
    if (m->n_stack >= LARGEST_STACK)
        FAIL(m, VLM_ERR_LIMIT, "%s: a pickle that stacks more than %d values", m->file, LARGEST_STACK);
    else if (!vlm_grow(&m->stack, &m->stack_capacity, m->n_stack + 1, sizeof *m->stack))
        m->status = vlm_fail_memory(m->error, m->n_stack * sizeof *m->stack, m->file);
    else
        m->stack[m->n_stack++] = v;
}

static size_t stack_bottom(const machine *m)
{
    return m->n_marks ? m->marks[m->n_marks - 1] : 0;
}

/* Never NULL: a failed machine pops None. */
static value *pop(machine *m)
{
    if (m->status == VLM_OK && m->n_stack > stack_bottom(m))
        return m->stack[--m->n_stack];
    damaged(m, "nothing on the stack");
    return &none;
}

static value *top(machine *m)
{
    if (m->status == VLM_OK && m->n_stack > stack_bottom(m))
        return m->stack[m->n_stack - 1];
    damaged(m, "nothing on the stack");
    return &none;
}

/* The values above the last mark, which is dropped with them; valid until the next push. */
static value **pop_to_mark(machine *m, size_t *count)
{
    *count = 0;
    if (m->status != VLM_OK || !m->n_marks) {
        damaged(m, "no mark on the stack");
        return NULL;
    }
    size_t mark = m->marks[--m->n_marks];
    *count = m->n_stack - mark;
    m->n_stack = mark;
    return *count ? m->stack + mark : NULL;
}

/* n bytes of the pickle, or NULL when it ends before. */
static const unsigned char *take(machine *m, uint64_t n)
{
    if (m->status != VLM_OK || n > m->size - m->at) {
        damaged(m, "it ends too soon; was the file cut?");
        return NULL;
    }
    const unsigned char *bytes = m->bytes + m->at;
    m->at += (size_t)n;
    return bytes;
}

static uint64_t take_number(machine *m, size_t bytes)
{
    const unsigned char *b = take(m, bytes);
    uint64_t number = 0;
    for (size_t i = bytes; b && i > 0; i--)
        number = number << 8 | b[i - 1];
    return number;
}

/* Add values to a container, by doubling inside the heap. */
static void append(machine *m, value *container, value *const *values, size_t count)
{
    size_t wanted = container->items.count + count;
    if (m->status != VLM_OK || !count)
        return;
    if (wanted > container->items.capacity) {
        size_t capacity = 2 * container->items.capacity > wanted ? 2 * container->items.capacity : wanted;
        value **grown = heap_alloc(m, capacity, sizeof *grown);
        if (!grown)
            return;
        if (container->items.count)
            memcpy(grown, container->items.data, container->items.count * sizeof *grown);
        container->items.data = grown;
        container->items.capacity = capacity;
    }
    memcpy(container->items.data + container->items.count, values, count * sizeof *values);
    container->items.count = wanted;
}

static value *new_container(machine *m, value_kind kind, value *const *values, size_t count)
{
    value *container = new_value(m, kind);
    if (container)
        append(m, container, values, count);
    return m->status == VLM_OK ? container : NULL;
}

static bool text_is(const value *v, const char *text)
{
    return v->kind == TEXT && v->text.length == strlen(text) && memcmp(v->text.data, text, v->text.length) == 0;
}

static const value *item(const value *container, size_t i)
{
    return i < container->items.count ? container->items.data[i] : &none;
}

/* --- calls --------------------------------------------------------------------------------------------- */

static bool take_size(size_t *size, const value *v)
{
    bool good = v->kind == INTEGER && v->integer >= 0;
    *size = good ? (size_t)v->integer : 0;
    return good;
}

/* A tuple of torch.Size or strides. */
static bool take_sizes(size_t *sizes, size_t *count, const value *v)
{
    *count = v->kind == TUPLE || v->kind == LIST ? v->items.count : SIZE_MAX;
    if (*count > VLM_ENTRY_DIMS)
        return false;
    for (size_t i = 0; i < *count; i++)
        if (!take_size(&sizes[i], v->items.data[i]))
            return false;
    return true;
}

/* (storage, offset, size, strides, requires_grad, hooks, [dtype,] metadata) */
static value *make_tensor(machine *m, const value *arguments, bool typed)
{
    const value *from = item(arguments, 0), *dtype = item(arguments, 6), *metadata = item(arguments, typed ? 7 : 6);
    tensor t = {0};
    size_t n_strides;
    if (from->kind != STORAGE || !take_size(&t.offset, item(arguments, 1)) ||
        !take_sizes(t.shape, &t.n_dims, item(arguments, 2)) || !take_sizes(t.strides, &n_strides, item(arguments, 3)) ||
        t.n_dims != n_strides || (typed && (dtype->kind != GLOBAL || dtype->global.role != DTYPE))) {
        FAIL(m, VLM_ERR_FORMAT, "%s: a tensor whose storage, offset, size or strides are not what they should be "
             "(at most %d dimensions are read)", m->file, VLM_ENTRY_DIMS);
        return NULL;
    }
    if (metadata->kind == DICT && metadata->items.count) { /* lazily negated or conjugated: the bytes are not the values */
        FAIL(m, VLM_ERR_UNSUPPORTED, "%s: a tensor with a pending negation or conjugation; call resolve_neg() and "
             "resolve_conj() before saving it", m->file);
        return NULL;
    }
    t.storage = from->storage;
    t.type = typed ? dtype->global.type : from->storage->type;
    value *v = new_value(m, TENSOR);
    tensor *kept = v ? heap_alloc(m, 1, sizeof *kept) : NULL;
    if (!kept)
        return NULL;
    *kept = t;
    v->tensor = kept;
    return v;
}

/* OrderedDict(): empty, or from a list of pairs. */
static value *make_dict(machine *m, const value *arguments)
{
    value *dict = new_container(m, DICT, NULL, 0);
    const value *pairs = item(arguments, 0);
    if (dict && pairs->kind == DICT)
        append(m, dict, pairs->items.data, pairs->items.count);
    for (size_t i = 0; dict && pairs->kind == LIST && i < pairs->items.count; i++) {
        const value *pair = pairs->items.data[i];
        if ((pair->kind != TUPLE && pair->kind != LIST) || pair->items.count != 2) {
            damaged(m, "a dictionary made of something that is not pairs");
            return NULL;
        }
        append(m, dict, pair->items.data, 2);
    }
    return dict;
}

static value *call(machine *m, const value *function, const value *arguments)
{
    if (arguments->kind != TUPLE || function->kind != GLOBAL) {
        damaged(m, "a call of something that is not a function");
        return NULL;
    }
    if (function->global.role == MAKE_TYPED) { /* once: the function inside is not another of its kind */
        function = item(arguments, 0);
        arguments = item(arguments, 2);
        if (arguments->kind != TUPLE || function->kind != GLOBAL || function->global.role == MAKE_TYPED) {
            damaged(m, "a tensor of a type made by something that is not a function");
            return NULL;
        }
    }
    value *first = arguments->items.count ? arguments->items.data[0] : &none;
    switch (function->global.role) {
    case MAKE_DICT: return make_dict(m, arguments);
    case MAKE_TENSOR: return make_tensor(m, arguments, false);
    case MAKE_TENSOR_V3: return make_tensor(m, arguments, true);
    case MAKE_PARAMETER:
        if (first->kind == TENSOR)
            return first;
        damaged(m, "a parameter made of something that is not a tensor");
        return NULL;
    case MAKE_SIZE:
        if (first->kind == TUPLE)
            return first;
        damaged(m, "a size made of something that is not a tuple");
        return NULL;
    case MAKE_LIST: return first;
    case MODULE_CLASS: return new_container(m, MODULE, NULL, 0);
    case MAKE_OPAQUE:
    case DTYPE:
    case STORAGE_CLASS:
    case MAKE_TYPED: break;
    }
    return &opaque;
}

static bool is_module(const char *have, size_t length, const char *want)
{
    return length == strlen(want) && memcmp(have, want, length) == 0;
}

/* torch.FloatStorage (torch.cuda's too), torch.float32, torch.storage.UntypedStorage. */
static const number_type *find_number_type(const char *module, size_t module_length, const char *name, size_t name_length,
                                           global_role *role)
{
    bool torch = is_module(module, module_length, "torch");
    bool holds_storages = torch || is_module(module, module_length, "torch.cuda") || is_module(module, module_length, "torch.storage");
    for (size_t i = 0; i < N_NUMBER_TYPES && holds_storages; i++) {
        const number_type *type = &number_types[i];
        *role = STORAGE_CLASS;
        if (type->storage && is_module(name, name_length, type->storage))
            return type;
        *role = DTYPE;
        if (torch && type->dtype && is_module(name, name_length, type->dtype))
            return type;
    }
    return NULL;
}

static void push_global(machine *m, const char *module, size_t module_length, const char *name, size_t name_length)
{
    value *v = new_value(m, GLOBAL);
    if (!v)
        return;
    v->global.type = find_number_type(module, module_length, name, name_length, &v->global.role);
    bool found = v->global.type != NULL;
    for (size_t i = 0; i < N_GLOBALS && !found; i++) {
        found = is_module(module, module_length, globals[i].module) && is_module(name, name_length, globals[i].name);
        if (found)
            v->global.role = globals[i].role;
    }
    if (!found && m->zip && module_length >= 9 && memcmp(module, "__torch__", 9) == 0) {
        v->global.role = MODULE_CLASS;
        found = true;
    }
    if (!found)
        FAIL(m, VLM_ERR_UNSUPPORTED, "%s: the pickle calls %.*s.%.*s; only tensors are read, no code is run "
             "(save the model's state_dict() alone, best as safetensors)", m->file,
             (int)(module_length < 200 ? module_length : 200), module, (int)(name_length < 200 ? name_length : 200), name);
    push(m, v);
}

/* ('storage', class, key, device, elements[, view]) -> a storage, whose bytes are looked for in the archive. */
static void push_storage(machine *m, const value *id)
{
    const value *class = id->kind == TUPLE ? item(id, 1) : &none, *key = id->kind == TUPLE ? item(id, 2) : &none;
    storage s = {0};
    if (id->kind != TUPLE || !text_is(item(id, 0), "storage") || class->kind != GLOBAL || class->global.role != STORAGE_CLASS ||
        key->kind != TEXT || !take_size(&s.n, item(id, 4))) {
        damaged(m, "a persistent id that is not a storage");
        return;
    }
    s.type = class->global.type;
    s.key = key->text.data;
    s.key_length = key->text.length;
    s.whole = s.n;
    const value *view = item(id, 5);
    if (view->kind == TUPLE && (!take_size(&s.first, item(view, 1)) || !take_size(&s.n, item(view, 2)))) {
        damaged(m, "a view of a storage that is not one");
        return;
    }
    value *v = new_value(m, STORAGE);
    storage *kept = v ? heap_alloc(m, 1, sizeof *kept) : NULL;
    if (!kept)
        return;
    if (!vlm_grow(&m->storages, &m->storages_capacity, m->n_storages + 1, sizeof *m->storages)) {
        m->status = vlm_fail_memory(m->error, m->n_storages * sizeof *m->storages, m->file);
        return;
    }
    *kept = s;
    v->storage = m->storages[m->n_storages++] = kept;
    push(m, v);
}

/* --- opcodes ------------------------------------------------------------------------------------------- */

static void push_integer(machine *m, int64_t integer)
{
    value *v = new_value(m, INTEGER);
    if (v)
        v->integer = integer;
    push(m, v);
}

static void push_text(machine *m, uint64_t length)
{
    const unsigned char *bytes = take(m, length);
    value *v = bytes ? new_value(m, TEXT) : NULL;
    if (!v)
        return;
    v->text.data = (const char *)bytes;
    v->text.length = (size_t)length;
    push(m, v);
}

static void push_opaque(machine *m, uint64_t length)
{
    if (take(m, length))
        push(m, &opaque);
}

/* A two's complement integer of any length; what does not fit 64 bits is nothing that a tensor needs. */
static void push_long(machine *m, uint64_t length)
{
    const unsigned char *b = take(m, length);
    if (!b)
        return;
    if (length > 8) {
        push(m, &opaque);
        return;
    }
    uint64_t number = length && b[length - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = (size_t)length; i > 0; i--)
        number = number << 8 | b[i - 1];
    push_integer(m, (int64_t)number);
}

static void push_tuple(machine *m, size_t count)
{
    value *items[3];
    for (size_t i = count; i > 0; i--)
        items[i - 1] = pop(m);
    push(m, new_container(m, TUPLE, items, count));
}

static void push_marked(machine *m, value_kind kind)
{
    size_t count;
    value **items = pop_to_mark(m, &count);
    if (kind == DICT && count % 2)
        damaged(m, "a key without its value");
    push(m, new_container(m, kind, items, count));
}

static void append_to(machine *m, value_kind kind, value **items, size_t count)
{
    value *container = top(m);
    if (kind == DICT && count % 2)
        damaged(m, "a key without its value");
    if (container->kind == kind)
        append(m, container, items, count);
    else if (container != &opaque)
        damaged(m, "an item for something that is no container");
}

static void append_marked(machine *m, value_kind kind)
{
    size_t count;
    value **items = pop_to_mark(m, &count);
    append_to(m, kind, items, count);
}

static void mark(machine *m)
{
    if (m->n_marks >= LARGEST_STACK)
        FAIL(m, VLM_ERR_LIMIT, "%s: a pickle that stacks more than %d marks", m->file, LARGEST_STACK);
    else if (!vlm_grow(&m->marks, &m->marks_capacity, m->n_marks + 1, sizeof *m->marks))
        m->status = vlm_fail_memory(m->error, m->n_marks * sizeof *m->marks, m->file);
    else
        m->marks[m->n_marks++] = m->n_stack;
}

static void put(machine *m, uint64_t index)
{
    value *v = top(m);
    if (m->status != VLM_OK)
        return;
    if (index >= LARGEST_STACK) {
        FAIL(m, VLM_ERR_LIMIT, "%s: a pickle that remembers more than %d values", m->file, LARGEST_STACK);
        return;
    }
    size_t old = m->memo_capacity;
    if (!vlm_grow(&m->memo, &m->memo_capacity, (size_t)index + 1, sizeof *m->memo)) {
        m->status = vlm_fail_memory(m->error, (size_t)index * sizeof *m->memo, m->file);
        return;
    }
    for (size_t i = old; i < m->memo_capacity; i++)
        m->memo[i] = NULL;
    m->memo[index] = v;
    m->next_memo++;
}

static void get(machine *m, uint64_t index)
{
    if (index < m->memo_capacity && m->memo[index])
        push(m, m->memo[index]);
    else
        damaged(m, "a value is asked for that was never remembered");
}

/* GLOBAL: two lines, module and name. */
static void global_lines(machine *m)
{
    const unsigned char *lines[2];
    size_t lengths[2];
    for (int i = 0; i < 2; i++) {
        const unsigned char *end = m->at < m->size ? memchr(m->bytes + m->at, '\n', m->size - m->at) : NULL;
        if (!end) {
            damaged(m, "a name without an end");
            return;
        }
        lines[i] = m->bytes + m->at;
        lengths[i] = (size_t)(end - lines[i]);
        m->at += lengths[i] + 1;
    }
    push_global(m, (const char *)lines[0], lengths[0], (const char *)lines[1], lengths[1]);
}

static void stack_global(machine *m)
{
    const value *name = pop(m), *module = pop(m);
    if (name->kind == TEXT && module->kind == TEXT)
        push_global(m, module->text.data, module->text.length, name->text.data, name->text.length);
    else
        damaged(m, "a global whose name is not text");
}

static void reduce(machine *m)
{
    const value *arguments = pop(m), *function = pop(m);
    push(m, call(m, function, arguments));
}

/* The state of an object: a module's attributes; a dictionary's attributes (_metadata) are no tensors. */
static void build(machine *m)
{
    value *state = pop(m), *object = top(m);
    if (object->kind == MODULE && state->kind == DICT)
        append(m, object, state->items.data, state->items.count);
    else if (object->kind != DICT && object->kind != MODULE && object != &opaque)
        damaged(m, "a state for something that has none");
}

static void step(machine *m, unsigned char opcode)
{
    value *v, *pair[2];
    size_t count;
    switch (opcode) {
    case 0x80: take(m, 1); break;                             /* PROTO */
    case 0x95: take(m, 8); break;                             /* FRAME */
    case '.': m->stopped = true; break;                       /* STOP */
    case '(': mark(m); break;                                 /* MARK */
    case '0': pop(m); break;                                  /* POP */
    case '1': pop_to_mark(m, &count); break;                  /* POP_MARK */
    case '2': push(m, top(m)); break;                         /* DUP */
    case 'N': push(m, &none); break;                          /* NONE */
    case 0x88: push(m, &truth[1]); break;                     /* NEWTRUE */
    case 0x89: push(m, &truth[0]); break;                     /* NEWFALSE */
    case 'J': push_integer(m, (int32_t)take_number(m, 4)); break; /* BININT */
    case 'K': push_integer(m, (int64_t)take_number(m, 1)); break; /* BININT1 */
    case 'M': push_integer(m, (int64_t)take_number(m, 2)); break; /* BININT2 */
    case 0x8a: push_long(m, take_number(m, 1)); break;        /* LONG1 */
    case 0x8b: push_long(m, take_number(m, 4)); break;        /* LONG4 */
    case 'G': push_opaque(m, 8); break;                       /* BINFLOAT */
    case 'X': push_text(m, take_number(m, 4)); break;         /* BINUNICODE */
    case 0x8c: push_text(m, take_number(m, 1)); break;        /* SHORT_BINUNICODE */
    case 0x8d: push_text(m, take_number(m, 8)); break;        /* BINUNICODE8 */
    case 'U': push_text(m, take_number(m, 1)); break;         /* SHORT_BINSTRING, Python 2's str */
    case 'T': push_text(m, take_number(m, 4)); break;         /* BINSTRING */
    case 'C': push_opaque(m, take_number(m, 1)); break;       /* SHORT_BINBYTES */
    case 'B': push_opaque(m, take_number(m, 4)); break;       /* BINBYTES */
    case 0x8e:                                                /* BINBYTES8 */
    case 0x96: push_opaque(m, take_number(m, 8)); break;      /* BYTEARRAY8 */
    case ')': push_tuple(m, 0); break;                        /* EMPTY_TUPLE */
    case 0x85: push_tuple(m, 1); break;                       /* TUPLE1 */
    case 0x86: push_tuple(m, 2); break;                       /* TUPLE2 */
    case 0x87: push_tuple(m, 3); break;                       /* TUPLE3 */
    case 't': push_marked(m, TUPLE); break;                   /* TUPLE */
    case ']': push(m, new_container(m, LIST, NULL, 0)); break; /* EMPTY_LIST */
    case 'l': push_marked(m, LIST); break;                    /* LIST */
    case '}': push(m, new_container(m, DICT, NULL, 0)); break; /* EMPTY_DICT */
    case 'd': push_marked(m, DICT); break;                    /* DICT */
    case 0x8f: push(m, &opaque); break;                       /* EMPTY_SET */
    case 0x90: append_marked(m, LIST); break;                 /* ADDITEMS, to a set, which is opaque */
    case 0x91:                                                /* FROZENSET */
        pop_to_mark(m, &count);
        push(m, &opaque);
        break;
    case 'a':                                                 /* APPEND */
        v = pop(m);
        append_to(m, LIST, &v, 1);
        break;
    case 'e': append_marked(m, LIST); break;                  /* APPENDS */
    case 's':                                                 /* SETITEM */
        pair[1] = pop(m);
        pair[0] = pop(m);
        append_to(m, DICT, pair, 2);
        break;
    case 'u': append_marked(m, DICT); break;                  /* SETITEMS */
    case 'c': global_lines(m); break;                         /* GLOBAL */
    case 0x93: stack_global(m); break;                        /* STACK_GLOBAL */
    case 'R':                                                 /* REDUCE */
    case 0x81: reduce(m); break;                              /* NEWOBJ */
    case 0x92:                                                /* NEWOBJ_EX: keywords make no tensor */
        pop(m);
        reduce(m);
        break;
    case 'b': build(m); break;                                /* BUILD */
    case 'Q': push_storage(m, pop(m)); break;                 /* BINPERSID */
    case 'q': put(m, take_number(m, 1)); break;               /* BINPUT */
    case 'r': put(m, take_number(m, 4)); break;               /* LONG_BINPUT */
    case 0x94: put(m, m->next_memo); break;                   /* MEMOIZE */
    case 'h': get(m, take_number(m, 1)); break;               /* BINGET */
    case 'j': get(m, take_number(m, 4)); break;               /* LONG_BINGET */
    default:
        FAIL(m, VLM_ERR_UNSUPPORTED, "%s: pickle opcode 0x%02x at byte %zu; torch.save does not write it", m->file, opcode, m->at - 1);
    }
}

/* Run the pickle that begins at m->at up to its STOP; NULL when m->status says why. */
static value *run(machine *m)
{
    size_t limit = m->at + LARGEST_PICKLE;
    m->n_stack = m->n_marks = m->next_memo = 0;
    if (m->memo_capacity)
        memset(m->memo, 0, m->memo_capacity * sizeof *m->memo);
    m->stopped = false;
    while (m->status == VLM_OK && !m->stopped) {
        const unsigned char *opcode = take(m, 1);
        if (opcode)
            step(m, *opcode);
        if (m->at > limit)
            FAIL(m, VLM_ERR_LIMIT, "%s: a pickle of more than %d MiB", m->file, LARGEST_PICKLE >> 20);
    }
    value *result = pop(m);
    return m->status == VLM_OK ? result : NULL;
}

static void free_machine(machine *m)
{
    free(m->stack);
    free(m->marks);
    free(m->memo);
    free(m->storages);
    vlm_arena_free(&m->heap);
}

/* --- from values to entries ---------------------------------------------------------------------------- */

typedef struct collector {
    machine *m;
    vlm_entry_list *list;
    size_t budget; /* bytes that may still be copied */
    size_t steps;  /* values looked at in modules */
} collector;

/* Do the strides walk the storage row by row? Then the tensor can be used where it lies. */
static bool is_contiguous(const tensor *t)
{
    size_t expected = 1;
    for (size_t i = t->n_dims; i > 0; i--) {
        if (t->shape[i - 1] != 1 && t->strides[i - 1] != expected)
            return false;
        expected *= t->shape[i - 1];
    }
    return true;
}

/* Elements of the tensor, its place in the storage checked. False: it does not lie inside. */
static bool check_bounds(size_t *n, const tensor *t)
{
    size_t last = t->offset, bytes, step;
    *n = 1;
    bool empty = false, fits = true;
    for (size_t i = 0; i < t->n_dims; i++)
        empty |= t->shape[i] == 0;
    for (size_t i = 0; i < t->n_dims && !empty; i++) {
        fits = fits && vlm_multiply(*n, t->shape[i], n) && vlm_multiply(t->shape[i] - 1, t->strides[i], &step) &&
               !__builtin_add_overflow(last, step, &last);
    }
    if (empty) {
        *n = 0;
        return true;
    }
    size_t held;
    return fits && vlm_multiply(*n, t->type->size, &bytes) && vlm_multiply(t->storage->n, t->storage->type->size, &held) &&
           last < held / t->type->size;
}

/* Copy a strided tensor into rows: an odometer over its indices. */
static void copy_strided(unsigned char *out, const tensor *t, size_t n)
{
    const size_t size = t->type->size;
    const unsigned char *in = t->storage->data + t->offset * size;
    size_t index[VLM_ENTRY_DIMS] = {0}, at = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(out + i * size, in + at * size, size);
        for (size_t d = t->n_dims; d > 0; d--) {
            at += t->strides[d - 1];
            if (++index[d - 1] < t->shape[d - 1])
                break;
            at -= t->strides[d - 1] * t->shape[d - 1];
            index[d - 1] = 0;
        }
    }
}

static void add_tensor(collector *c, const tensor *t, const char *name, size_t length)
{
    machine *m = c->m;
    int shown = (int)(length < 200 ? length : 200);
    vlm_entry entry = {.type = t->type->type, .n_dims = t->n_dims};
    if (memchr(name, 0, length) || !vlm_utf8_valid(name, length)) {
        FAIL(m, VLM_ERR_FORMAT, "%s: a tensor whose name is not UTF-8 text", m->file);
        return;
    }
    if (!check_bounds(&entry.n, t)) {
        FAIL(m, VLM_ERR_FORMAT, "%s: tensor %.*s reaches beyond its storage of %zu elements", m->file, shown, name, t->storage->n);
        return;
    }
    if (c->list->count >= MOST_TENSORS) {
        FAIL(m, VLM_ERR_LIMIT, "%s: more than %d tensors", m->file, MOST_TENSORS);
        return;
    }
    memcpy(entry.shape, t->shape, sizeof entry.shape);
    entry.type_name = entry.type < VLM_DTYPES ? vlm_dtype_name(entry.type) : t->type->dtype;
    entry.bytes = entry.n * t->type->size;
    if (!entry.n || is_contiguous(t)) {
        entry.data = t->storage->data + (entry.n ? t->offset * t->type->size : 0);
    } else {
        if (entry.bytes > c->budget) {
            FAIL(m, VLM_ERR_LIMIT, "%s: tensor %.*s is a view that would unfold to %zu bytes, out of proportion to the file",
                 m->file, shown, name, entry.bytes);
            return;
        }
        c->budget -= entry.bytes;
        unsigned char *copy = vlm_arena_alloc(&c->list->arena, entry.bytes, 1);
        if (!copy) {
            m->status = vlm_fail_memory(m->error, entry.bytes, m->file);
            return;
        }
        copy_strided(copy, t, entry.n);
        entry.data = copy;
    }
    if (!vlm_entry_list_add(c->list, &entry, name, length))
        m->status = vlm_fail_memory(m->error, sizeof entry, m->file);
}

static bool holds_tensors(const value *dict)
{
    for (size_t i = 1; i < dict->items.count; i += 2)
        if (dict->items.data[i]->kind == TENSOR)
            return true;
    return false;
}

/* The dictionary of tensors inside what training scripts save around it; NULL when there is none. */
static const value *find_state_dict(const value *v, size_t depth)
{
    static const char *const wrappers[] = {"state_dict", "model_state_dict", "model", "module"};
    if (v->kind == MODULE)
        return v;
    if (v->kind != DICT)
        return NULL;
    for (size_t w = 0; w < sizeof wrappers / sizeof *wrappers && depth < 3; w++)
        for (size_t i = 0; i + 1 < v->items.count; i += 2) {
            const value *inner = v->items.data[i + 1];
            if ((inner->kind == DICT || inner->kind == MODULE) && text_is(v->items.data[i], wrappers[w])) {
                const value *found = find_state_dict(inner, depth + 1);
                if (found)
                    return found;
                break;
            }
        }
    return holds_tensors(v) ? v : NULL;
}

static void add_state_dict(collector *c, const value *dict)
{
    for (size_t i = 0; i + 1 < dict->items.count && c->m->status == VLM_OK; i += 2) {
        const value *key = dict->items.data[i], *v = dict->items.data[i + 1];
        if (v->kind != TENSOR)
            continue;
        if (key->kind == TEXT)
            add_tensor(c, v->tensor, key->text.data, key->text.length);
        else
            FAIL(c->m, VLM_ERR_FORMAT, "%s: a tensor whose name is not text", c->m->file);
    }
}

/* A TorchScript module: its tensors, and those of the modules in it, names joined by dots. */
static void add_module(collector *c, const value *module, vlm_text *path, size_t depth)
{
    machine *m = c->m;
    size_t length = path->length;
    for (size_t i = 0; i + 1 < module->items.count && m->status == VLM_OK; i += 2) {
        const value *key = module->items.data[i], *v = module->items.data[i + 1];
        if (++c->steps > LARGEST_STACK || depth > DEEPEST_MODULE) {
            FAIL(m, VLM_ERR_LIMIT, "%s: modules inside modules without end", m->file);
            return;
        }
        if (key->kind != TEXT || (v->kind != TENSOR && v->kind != MODULE))
            continue;
        vlm_text_append(path, key->text.data, key->text.length);
        if (v->kind == MODULE)
            vlm_text_puts(path, ".");
        if (path->failed)
            m->status = vlm_fail_memory(m->error, path->length, m->file);
        else if (v->kind == MODULE)
            add_module(c, v, path, depth + 1);
        else
            add_tensor(c, v->tensor, path->data, path->length);
        path->length = length;
    }
}

/* Data-parallel training saves "module." before every name. */
static void drop_module_prefix(vlm_entry_list *list, size_t first)
{
    static const char prefix[] = "module.";
    for (size_t i = first; i < list->count; i++)
        if (strncmp(list->items[i].name, prefix, sizeof prefix - 1) != 0)
            return;
    for (size_t i = first; i < list->count; i++)
        list->items[i].name += sizeof prefix - 1;
}

static void collect(machine *m, const value *root, vlm_entry_list *list, size_t file_size)
{
    const value *state = find_state_dict(root, 0);
    if (!state) {
        vlm_text keys = {0};
        for (size_t i = 0; root->kind == DICT && i + 1 < root->items.count && i < 20; i += 2) {
            const value *key = root->items.data[i];
            if (key->kind == TEXT && key->text.length < 64)
                vlm_text_printf(&keys, "%s%.*s", keys.length ? ", " : "", (int)key->text.length, key->text.data);
        }
        FAIL(m, VLM_ERR_FORMAT, "%s: no dictionary of tensors in it%s%s; a state_dict is wanted", m->file,
             keys.length ? ", but the keys " : "", keys.length ? keys.data : "");
        vlm_text_free(&keys);
        return;
    }
    collector c = {.m = m, .list = list, .budget = (size_t)64 << 20};
    size_t growth, first = list->count;
    if (!vlm_multiply(file_size, LARGEST_GROWTH, &growth) || __builtin_add_overflow(c.budget, growth, &c.budget))
        c.budget = SIZE_MAX;
    if (state->kind == MODULE) {
        vlm_text path = {0};
        add_module(&c, state, &path, 0);
        vlm_text_free(&path);
    } else {
        add_state_dict(&c, state);
    }
    if (m->status == VLM_OK)
        drop_module_prefix(list, first);
}

/* --- the zip archive ----------------------------------------------------------------------------------- */

/* The member root/name, or NULL. */
static vlm_zip_member *find_member(machine *m, const char *folder, const char *name, size_t length)
{
    vlm_text path = {0};
    vlm_text_append(&path, m->root, m->root_length);
    vlm_text_puts(&path, folder);
    vlm_text_append(&path, name, length);
    vlm_zip_member *member = path.failed ? NULL : vlm_zip_find(m->zip, path.data, path.length);
    if (path.failed && m->status == VLM_OK)
        m->status = vlm_fail_memory(m->error, path.length, m->file);
    vlm_text_free(&path);
    return member;
}

/* The one folder that holds data.pkl is the archive's root; its name is what torch made of the file's. */
static vlm_zip_member *find_root(machine *m)
{
    static const char wanted[] = "data.pkl";
    const size_t length = sizeof wanted - 1;
    for (size_t i = 0; i < m->zip->count; i++) {
        vlm_zip_member *member = &m->zip->members[i];
        if (member->name_length < length || memcmp(member->name + member->name_length - length, wanted, length) != 0)
            continue;
        m->root = member->name;
        m->root_length = member->name_length - length;
        const char *slash = memchr(m->root, '/', m->root_length);
        if (!m->root_length || (slash && slash == m->root + m->root_length - 1))
            return member;
    }
    FAIL(m, VLM_ERR_FORMAT, "%s: a zip archive, but not one that torch.save wrote: no data.pkl in it", m->file);
    return NULL;
}

static void check_byte_order(machine *m)
{
    vlm_zip_member *member = find_member(m, "", "byteorder", 9);
    const unsigned char *text;
    if (!member || m->status != VLM_OK)
        return;
    m->status = vlm_zip_read(&text, m->zip, member, m->copies, m->error);
    if (m->status == VLM_OK && (member->size != 6 || memcmp(text, "little", 6) != 0))
        FAIL(m, VLM_ERR_UNSUPPORTED, "%s: saved on a machine of another byte order; only little-endian files are read", m->file);
}

static void find_zip_storages(machine *m)
{
    for (size_t i = 0; i < m->n_storages && m->status == VLM_OK; i++) {
        storage *s = m->storages[i];
        size_t bytes;
        vlm_zip_member *member = find_member(m, "data/", s->key, s->key_length);
        int shown = (int)(s->key_length < 100 ? s->key_length : 100);
        if (!member)
            FAIL(m, VLM_ERR_FORMAT, "%s: storage %.*s is not in the archive", m->file, shown, s->key);
        else if (!vlm_multiply(s->n, s->type->size, &bytes) || member->size < bytes || s->n != s->whole)
            FAIL(m, VLM_ERR_FORMAT, "%s: storage %.*s has %zu bytes, too few for %zu elements of %zu", m->file, shown, s->key,
                 member->size, s->n, s->type->size);
        else
            m->status = vlm_zip_read(&s->data, m->zip, member, m->copies, m->error);
    }
}

static vlm_status read_zip(vlm_entry_list *list, const void *bytes, size_t size, const char *name, vlm_error *error)
{
    vlm_zip zip;
    vlm_status status = vlm_zip_open(&zip, bytes, size, name, error);
    if (status != VLM_OK)
        return status;
    machine m = {.file = name, .error = error, .zip = &zip, .copies = &list->arena};
    vlm_zip_member *pickle = find_root(&m);
    check_byte_order(&m);
    if (m.status == VLM_OK && pickle->size > LARGEST_PICKLE)
        FAIL(&m, VLM_ERR_LIMIT, "%s: a pickle of %zu bytes; at most %d are read", name, pickle->size, LARGEST_PICKLE);
    if (m.status == VLM_OK)
        m.status = vlm_zip_read(&m.bytes, &zip, pickle, &m.heap, error);
    value *root = NULL;
    if (m.status == VLM_OK) {
        m.size = pickle->size;
        root = run(&m);
    }
    if (root)
        find_zip_storages(&m);
    if (m.status == VLM_OK)
        collect(&m, root, list, size);
    free_machine(&m);
    vlm_zip_close(&zip);
    return m.status;
}

/* --- the old stream ------------------------------------------------------------------------------------ */

/* LONG1 of ten bytes and STOP: the whole of the first pickle, but for PROTO and, since protocol 4, FRAME. */
static const unsigned char stream_magic[] = {0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

static bool detect_stream(const unsigned char *b, size_t size)
{
    size_t at = size > 11 && b[2] == 0x95 ? 11 : 2;
    return size >= at + sizeof stream_magic && b[0] == 0x80 && memcmp(b + at, stream_magic, sizeof stream_magic) == 0;
}

static int compare_keys(const void *a, const void *b)
{
    const storage *x = *(const storage *const *)a, *y = *(const storage *const *)b;
    size_t shorter = x->key_length < y->key_length ? x->key_length : y->key_length;
    int order = memcmp(x->key, y->key, shorter);
    return order ? order : (x->key_length > y->key_length) - (x->key_length < y->key_length);
}

/* The first of the sorted storages that has this key. */
static size_t lower_bound(machine *m, const storage *key)
{
    size_t low = 0, high = m->n_storages;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_keys(&m->storages[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The storage of that key stands at m->at: its number of elements in 8 bytes, and their bytes. */
static void read_stream_storage(machine *m, const value *key)
{
    if (key->kind != TEXT) {
        damaged(m, "a storage's key that is not text");
        return;
    }
    const storage wanted = {.key = key->text.data, .key_length = key->text.length};
    const storage *wanted_pointer = &wanted;
    size_t i = lower_bound(m, &wanted), bytes;
    uint64_t n = take_number(m, 8);
    const number_type *type = i < m->n_storages ? m->storages[i]->type : NULL;
    if (!type || compare_keys(&m->storages[i], &wanted_pointer) != 0 || !vlm_multiply((size_t)n, type->size, &bytes)) {
        damaged(m, "a storage that nothing names");
        return;
    }
    const unsigned char *data = take(m, bytes);
    for (; data && i < m->n_storages && compare_keys(&m->storages[i], &wanted_pointer) == 0; i++) {
        storage *s = m->storages[i];
        if (s->type != type || s->whole != n || s->first > n || s->n > n - s->first) {
            damaged(m, "a storage of another size or type than stated");
            return;
        }
        s->data = data + s->first * type->size;
    }
}

static void read_stream_storages(machine *m)
{
    value *keys = run(m);
    if (!keys)
        return;
    if (keys->kind != LIST) {
        damaged(m, "no list of storages");
        return;
    }
    if (m->n_storages)
        qsort(m->storages, m->n_storages, sizeof *m->storages, compare_keys);
    for (size_t i = 0; i < keys->items.count && m->status == VLM_OK; i++)
        read_stream_storage(m, keys->items.data[i]);
    for (size_t i = 0; i < m->n_storages && m->status == VLM_OK; i++)
        if (!m->storages[i]->data)
            damaged(m, "a storage is missing");
}

static vlm_status read_stream(vlm_entry_list *list, const void *bytes, size_t size, const char *name, vlm_error *error)
{
    machine m = {.file = name, .error = error, .bytes = bytes, .size = size};
    const value *version = run(&m) ? run(&m) : NULL, *system = version ? run(&m) : NULL; /* the magic number was seen */
    if (system && (version->kind != INTEGER || version->integer != 1001))
        FAIL(&m, VLM_ERR_UNSUPPORTED, "%s: a PyTorch stream of an unknown version", name);
    for (size_t i = 0; system && system->kind == DICT && i + 1 < system->items.count; i += 2)
        if (text_is(system->items.data[i], "little_endian") && system->items.data[i + 1] != &truth[1])
            FAIL(&m, VLM_ERR_UNSUPPORTED, "%s: saved on a machine of another byte order; only little-endian files are read", name);
    value *root = m.status == VLM_OK ? run(&m) : NULL;
    if (root)
        read_stream_storages(&m);
    if (m.status == VLM_OK)
        collect(&m, root, list, size);
    free_machine(&m);
    return m.status;
}

bool vlm_pickle_detect(const void *bytes, size_t size)
{
    return vlm_zip_detect(bytes, size) || detect_stream(bytes, size);
}

vlm_status vlm_pickle_read(vlm_entry_list *list, const void *bytes, size_t size, const char *name, vlm_error *error)
{
    if (vlm_zip_detect(bytes, size))
        return read_zip(list, bytes, size, name, error);
    if (detect_stream(bytes, size))
        return read_stream(list, bytes, size, name, error);
    return vlm_fail(error, VLM_ERR_FORMAT, "%s: not a file that torch.save wrote", name);
}
