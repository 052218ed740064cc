/* Restricted pickle machine, protocols 2 to 5 (opcodes: Python's Lib/pickletools.py). See pickle.h. */
#include "fusion/weights/pickle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PICKLE 67108864 /* bytes: 65,536 tensors need about 20 MB */
#define MAX_OBJECTS 4194304

enum opcode {
    OP_MARK = '(',
    OP_STOP = '.',
    OP_POP = '0',
    OP_POP_MARK = '1',
    OP_DUP = '2',
    OP_BINBYTES = 'B',
    OP_SHORT_BINBYTES = 'C',
    OP_BINFLOAT = 'G',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_BINPERSID = 'Q',
    OP_REDUCE = 'R',
    OP_BINSTRING = 'T',
    OP_SHORT_BINSTRING = 'U',
    OP_BINUNICODE = 'X',
    OP_EMPTY_LIST = ']',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_SETITEMS = 'u',
    OP_EMPTY_DICT = '}',
    OP_EMPTY_TUPLE = ')',
    OP_PROTO = 0x80,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8A,
    OP_SHORT_BINUNICODE = 0x8C,
    OP_BINUNICODE8 = 0x8D,
    OP_BINBYTES8 = 0x8E,
    OP_STACK_GLOBAL = 0x93,
    OP_MEMOIZE = 0x94,
    OP_FRAME = 0x95
};

enum role { ROLE_ORDERED_DICT, ROLE_SIZE, ROLE_TENSOR, ROLE_PARAMETER, ROLE_STORAGE };

static const struct {
    const char *module, *name;
    enum role role;
    lks_dtype dtype;
} classes[] = {
    {"collections", "OrderedDict", ROLE_ORDERED_DICT, LKS_F32},
    {"torch", "Size", ROLE_SIZE, LKS_F32},
    {"torch._utils", "_rebuild_tensor_v2", ROLE_TENSOR, LKS_F32},
    {"torch._utils", "_rebuild_parameter", ROLE_PARAMETER, LKS_F32},
    {"torch", "FloatStorage", ROLE_STORAGE, LKS_F32},
    {"torch", "HalfStorage", ROLE_STORAGE, LKS_F16},
    {"torch", "BFloat16Storage", ROLE_STORAGE, LKS_BF16},
    {"torch", "DoubleStorage", ROLE_STORAGE, LKS_F64},
    {"torch", "CharStorage", ROLE_STORAGE, LKS_I8},
    {"torch", "ByteStorage", ROLE_STORAGE, LKS_U8},
    {"torch", "ShortStorage", ROLE_STORAGE, LKS_I16},
    {"torch", "IntStorage", ROLE_STORAGE, LKS_I32},
    {"torch", "LongStorage", ROLE_STORAGE, LKS_I64},
    {"torch", "BoolStorage", ROLE_STORAGE, LKS_BOOL},
};

typedef struct numbers { /* a growing array of object or stack numbers */
    uint32_t *items;
    size_t n, capacity;
} numbers;

typedef struct machine {
    const unsigned char *data;
    size_t n, at;
    lks_pickle *out;
    numbers stack, marks, memo;
    const char *path;
    lks_error *err;
} machine;

static lks_status damaged(machine *m, const char *reason)
{
    return lks_error_set(m->err, LKS_ERR_MODEL, "%s: its pickle %s at byte %zu" LKS_DAMAGED, m->path, reason, m->at);
}

static lks_status no_memory(machine *m)
{
    return lks_error_set(m->err, LKS_ERR_NOMEM, "%s: out of memory", m->path);
}

static lks_status append(machine *m, numbers *list, uint32_t value)
{
    uint32_t *items = lks_weight_grow(list->items, &list->capacity, list->n, sizeof *items);
    if (!items)
        return no_memory(m);
    list->items = items;
    items[list->n++] = value;
    return LKS_OK;
}

/* --- the stack ------------------------------------------------------------------------------------------------------ */

/* Objects that may be popped: those above the last mark. */
static size_t n_open(const machine *m)
{
    return m->stack.n - (m->marks.n ? m->marks.items[m->marks.n - 1] : 0);
}

/* The object `depth` places below the top; there are more than that many. */
static uint32_t from_top(const machine *m, size_t depth)
{
    assert(m->stack.items && depth < m->stack.n);
    return m->stack.items[m->stack.n - 1 - depth];
}

static const lks_pickle_object *object(const machine *m, uint32_t index)
{
    return &m->out->objects[index];
}

static lks_status push_object(machine *m, lks_pickle_object value)
{
    lks_pickle *out = m->out;
    if (out->n_objects >= MAX_OBJECTS)
        return damaged(m, "has more objects than any model needs");
    lks_pickle_object *objects = lks_weight_grow(out->objects, &out->object_capacity, out->n_objects, sizeof *objects);
    if (!objects)
        return no_memory(m);
    out->objects = objects;
    objects[out->n_objects++] = value;
    return append(m, &m->stack, (uint32_t)(out->n_objects - 1));
}

static lks_status push_kind(machine *m, lks_pickle_kind kind)
{
    return push_object(m, (lks_pickle_object){.kind = kind});
}

static lks_status push_integer(machine *m, int64_t value)
{
    return push_object(m, (lks_pickle_object){.kind = LKS_PICKLE_INT, .as.integer = value});
}

static bool pop(machine *m, uint32_t *index)
{
    if (n_open(m) == 0)
        return false;
    *index = from_top(m, 0);
    m->stack.n--;
    return true;
}

/* Takes the last mark away; the objects above it stay, *n of them. */
static bool pop_mark(machine *m, size_t *n)
{
    if (m->marks.n == 0)
        return false;
    *n = n_open(m);
    m->marks.n--;
    return true;
}

static lks_status make_tuple(machine *m, size_t n)
{
    lks_pickle *out = m->out;
    if (n_open(m) < n)
        return damaged(m, "takes a tuple from an empty stack");
    uint32_t first = (uint32_t)out->n_items;
    for (size_t i = 0; i < n; i++) {
        uint32_t *grown = lks_weight_grow(out->items, &out->item_capacity, out->n_items, sizeof *grown);
        if (!grown)
            return no_memory(m);
        out->items = grown;
        grown[out->n_items++] = from_top(m, n - 1 - i);
    }
    m->stack.n -= n;
    return push_object(m, (lks_pickle_object){.kind = LKS_PICKLE_TUPLE, .n = (uint32_t)n, .as.first = first});
}

/* The top n objects are keys and values for the dict below them. */
static lks_status set_items(machine *m, size_t n)
{
    lks_pickle *out = m->out;
    if (n % 2 != 0 || n_open(m) < n + 1)
        return damaged(m, "sets an odd number of items");
    uint32_t dict = from_top(m, n);
    if (object(m, dict)->kind != LKS_PICKLE_DICT)
        return damaged(m, "sets items of what is no dict");
    for (size_t i = 0; i < n; i += 2) {
        lks_pickle_assignment *grown =
            lks_weight_grow(out->assignments, &out->assignment_capacity, out->n_assignments, sizeof *grown);
        if (!grown)
            return no_memory(m);
        out->assignments = grown;
        grown[out->n_assignments++] = (lks_pickle_assignment){dict, from_top(m, n - 1 - i), from_top(m, n - 2 - i)};
    }
    m->stack.n -= n;
    return LKS_OK;
}

static lks_status drop_list_items(machine *m, size_t n)
{
    if (n_open(m) < n + 1 || object(m, from_top(m, n))->kind != LKS_PICKLE_LIST)
        return damaged(m, "appends to what is no list");
    m->stack.n -= n;
    return LKS_OK;
}

/* --- arguments of opcodes ------------------------------------------------------------------------------------------- */

/* The next n bytes; NULL when the pickle ends before. */
static const unsigned char *take(machine *m, uint64_t n)
{
    if (n > m->n - m->at)
        return NULL;
    const unsigned char *p = m->data + m->at;
    m->at += (size_t)n;
    return p;
}

/* A text or byte string after its length in `width` bytes. */
static lks_status push_string(machine *m, size_t width, lks_pickle_kind kind)
{
    const unsigned char *p = take(m, width);
    if (!p)
        return damaged(m, "ends inside a string");
    uint64_t n = width == 1 ? *p : width == 4 ? lks_le32(p) : lks_le64(p);
    p = take(m, n);
    if (!p)
        return damaged(m, "ends inside a string");
    return push_object(m, (lks_pickle_object){.kind = kind, .n = (uint32_t)n, .as.text = (const char *)p});
}

static lks_status push_small_integer(machine *m, size_t width)
{
    const unsigned char *p = take(m, width);
    if (!p)
        return damaged(m, "ends inside a number");
    return push_integer(m, width == 1 ? *p : width == 2 ? lks_le16(p) : (int32_t)lks_le32(p));
}

static lks_status push_long(machine *m)
{
    const unsigned char *p = take(m, 1);
    size_t n = p ? *p : 0;
    if (n > 8 || !(p = take(m, n)))
        return damaged(m, "has a number of more than 64 bits");
    uint64_t bits = n > 0 && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;)
        bits = bits << 8 | p[i];
    int64_t value;
    memcpy(&value, &bits, sizeof value);
    return push_integer(m, value);
}

static lks_status skip(machine *m, size_t n)
{
    return take(m, n) ? LKS_OK : damaged(m, "ends early");
}

/* Picklers number their memo from 0 upwards, which bounds it by the length of the pickle. */
static lks_status memo_put(machine *m, uint64_t index)
{
    if (n_open(m) == 0 || index > m->memo.n)
        return damaged(m, "remembers nothing or out of order");
    uint32_t top = from_top(m, 0);
    if (index == m->memo.n)
        return append(m, &m->memo, top);
    m->memo.items[index] = top;
    return LKS_OK;
}

static lks_status memo_get(machine *m, uint64_t index)
{
    if (index >= m->memo.n)
        return damaged(m, "recalls what it never remembered");
    return append(m, &m->stack, m->memo.items[index]);
}

static lks_status memo_access(machine *m, size_t width, lks_status (*access)(machine *, uint64_t))
{
    const unsigned char *p = take(m, width);
    if (!p)
        return damaged(m, "ends early");
    return access(m, width == 1 ? *p : lks_le32(p));
}

/* --- names and calls, none of which is made -------------------------------------------------------------------------- */

static bool equals(const char *a, size_t n, const char *b)
{
    return n == strlen(b) && memcmp(a, b, n) == 0;
}

static lks_status push_class(machine *m, const char *module, size_t n_module, const char *name, size_t n_name)
{
    for (uint32_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (equals(module, n_module, classes[i].module) && equals(name, n_name, classes[i].name))
            return push_object(m, (lks_pickle_object){.kind = LKS_PICKLE_CLASS, .as.class_index = i});
    char safe_module[80], safe_name[80];
    return lks_error_set(
        m->err, LKS_ERR_MODEL,
        "%s: its pickle asks for '%s.%s', which no state dict needs, and nothing was run; if you trust the file, "
        "load it with torch and save its state dict as safetensors",
        m->path, lks_weight_printable(safe_module, module, n_module), lks_weight_printable(safe_name, name, n_name));
}

static const char *take_line(machine *m, size_t *n)
{
    const unsigned char *p = m->data + m->at, *end = memchr(p, '\n', m->n - m->at);
    if (!end)
        return NULL;
    *n = (size_t)(end - p);
    m->at += *n + 1;
    return (const char *)p;
}

static lks_status global(machine *m)
{
    size_t n_module, n_name;
    const char *module = take_line(m, &n_module);
    const char *name = module ? take_line(m, &n_name) : NULL;
    return name ? push_class(m, module, n_module, name, n_name) : damaged(m, "ends inside a name");
}

static lks_status stack_global(machine *m)
{
    uint32_t name, module;
    if (!pop(m, &name) || !pop(m, &module) || object(m, name)->kind != LKS_PICKLE_TEXT ||
        object(m, module)->kind != LKS_PICKLE_TEXT)
        return damaged(m, "names something by what is no text");
    return push_class(m, object(m, module)->as.text, object(m, module)->n, object(m, name)->as.text,
                      object(m, name)->n);
}

static const lks_pickle_object *item(const machine *m, const lks_pickle_object *tuple, uint32_t i)
{
    return object(m, m->out->items[tuple->as.first + i]);
}

/* A reference to data outside the pickle: ("storage", class, key, location, number of elements). */
static lks_status persistent_id(machine *m)
{
    uint32_t index;
    if (!pop(m, &index) || object(m, index)->kind != LKS_PICKLE_TUPLE || object(m, index)->n != 5)
        return damaged(m, "has a reference that is no storage");
    const lks_pickle_object *id = object(m, index), *tag = item(m, id, 0), *class = item(m, id, 1);
    if (tag->kind != LKS_PICKLE_TEXT || !equals(tag->as.text, tag->n, "storage") || class->kind != LKS_PICKLE_CLASS ||
        classes[class->as.class_index].role != ROLE_STORAGE || item(m, id, 2)->kind != LKS_PICKLE_TEXT ||
        item(m, id, 4)->kind != LKS_PICKLE_INT || item(m, id, 4)->as.integer < 0)
        return damaged(m, "has a reference that is no storage");
    lks_pickle_object storage = *id;
    storage.kind = LKS_PICKLE_STORAGE;
    storage.dtype = classes[class->as.class_index].dtype;
    return push_object(m, storage);
}

static lks_status rebuild_tensor(machine *m, const lks_pickle_object *arguments)
{
    static const lks_pickle_kind kinds[] = {LKS_PICKLE_STORAGE, LKS_PICKLE_INT, LKS_PICKLE_TUPLE, LKS_PICKLE_TUPLE};
    for (uint32_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (arguments->n < 6 || item(m, arguments, i)->kind != kinds[i])
            return damaged(m, "rebuilds a tensor from something else");
    lks_pickle_object tensor = *arguments;
    tensor.kind = LKS_PICKLE_TENSOR;
    return push_object(m, tensor);
}

static lks_status reduce(machine *m)
{
    uint32_t index, callee;
    if (!pop(m, &index) || !pop(m, &callee) || object(m, index)->kind != LKS_PICKLE_TUPLE ||
        object(m, callee)->kind != LKS_PICKLE_CLASS)
        return damaged(m, "calls what is no class");
    const lks_pickle_object *arguments = object(m, index);
    switch (classes[object(m, callee)->as.class_index].role) {
    case ROLE_TENSOR:
        return rebuild_tensor(m, arguments);
    case ROLE_ORDERED_DICT:
        return arguments->n == 0 ? push_kind(m, LKS_PICKLE_DICT) : damaged(m, "fills an OrderedDict in an old way");
    case ROLE_SIZE:
        if (arguments->n == 1 && item(m, arguments, 0)->kind == LKS_PICKLE_TUPLE)
            return append(m, &m->stack, m->out->items[arguments->as.first]);
        break;
    case ROLE_PARAMETER:
        if (arguments->n >= 1 && item(m, arguments, 0)->kind == LKS_PICKLE_TENSOR)
            return append(m, &m->stack, m->out->items[arguments->as.first]);
        break;
    case ROLE_STORAGE:
        break;
    }
    return damaged(m, "calls a class in an unknown way");
}

/* A state dict carries a version table as an attribute: dropped. */
static lks_status build(machine *m)
{
    uint32_t state;
    if (!pop(m, &state) || n_open(m) == 0 || object(m, m->stack.items[m->stack.n - 1])->kind != LKS_PICKLE_DICT)
        return damaged(m, "sets attributes of what is no dict");
    return LKS_OK;
}

/* --- the machine ---------------------------------------------------------------------------------------------------- */

static lks_status marked(machine *m, unsigned char op)
{
    size_t n;
    if (!pop_mark(m, &n))
        return damaged(m, "closes what it never opened");
    switch (op) {
    case OP_TUPLE:
        return make_tuple(m, n);
    case OP_SETITEMS:
        return set_items(m, n);
    case OP_APPENDS:
        return drop_list_items(m, n);
    default: /* OP_POP_MARK */
        m->stack.n -= n;
        return LKS_OK;
    }
}

static lks_status plain(machine *m, unsigned char op)
{
    uint32_t top;
    switch (op) {
    case OP_MARK:
        return append(m, &m->marks, (uint32_t)m->stack.n);
    case OP_POP:
        return pop(m, &top) ? LKS_OK : damaged(m, "pops from an empty stack");
    case OP_DUP:
        return n_open(m) ? append(m, &m->stack, from_top(m, 0)) : damaged(m, "copies nothing");
    case OP_NONE:
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return push_kind(m, LKS_PICKLE_OTHER);
    case OP_EMPTY_LIST:
        return push_kind(m, LKS_PICKLE_LIST);
    case OP_EMPTY_DICT:
        return push_kind(m, LKS_PICKLE_DICT);
    case OP_EMPTY_TUPLE:
        return make_tuple(m, 0);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        return make_tuple(m, (size_t)op - OP_TUPLE1 + 1);
    case OP_SETITEM:
        return set_items(m, 2);
    case OP_APPEND:
        return drop_list_items(m, 1);
    case OP_MEMOIZE:
        return memo_put(m, m->memo.n);
    case OP_GLOBAL:
        return global(m);
    case OP_STACK_GLOBAL:
        return stack_global(m);
    case OP_BINPERSID:
        return persistent_id(m);
    case OP_REDUCE:
        return reduce(m);
    case OP_BUILD:
        return build(m);
    default:
        m->at--;
        return damaged(m, "has an opcode that no state dict needs");
    }
}

static lks_status step(machine *m, unsigned char op)
{
    switch (op) {
    case OP_BININT:
        return push_small_integer(m, 4);
    case OP_BININT1:
        return push_small_integer(m, 1);
    case OP_BININT2:
        return push_small_integer(m, 2);
    case OP_LONG1:
        return push_long(m);
    case OP_BINFLOAT:
        return take(m, 8) ? push_kind(m, LKS_PICKLE_OTHER) : damaged(m, "ends inside a number");
    case OP_BINSTRING:
    case OP_BINUNICODE:
        return push_string(m, 4, LKS_PICKLE_TEXT);
    case OP_SHORT_BINSTRING:
    case OP_SHORT_BINUNICODE:
        return push_string(m, 1, LKS_PICKLE_TEXT);
    case OP_BINUNICODE8:
        return push_string(m, 8, LKS_PICKLE_TEXT);
    case OP_BINBYTES:
        return push_string(m, 4, LKS_PICKLE_OTHER);
    case OP_SHORT_BINBYTES:
        return push_string(m, 1, LKS_PICKLE_OTHER);
    case OP_BINBYTES8:
        return push_string(m, 8, LKS_PICKLE_OTHER);
    case OP_FRAME:
        return skip(m, 8);
    case OP_BINPUT:
        return memo_access(m, 1, memo_put);
    case OP_LONG_BINPUT:
        return memo_access(m, 4, memo_put);
    case OP_BINGET:
        return memo_access(m, 1, memo_get);
    case OP_LONG_BINGET:
        return memo_access(m, 4, memo_get);
    case OP_TUPLE:
    case OP_SETITEMS:
    case OP_APPENDS:
    case OP_POP_MARK:
        return marked(m, op);
    default:
        return plain(m, op);
    }
}

static lks_status run(machine *m)
{
    const unsigned char *p = take(m, 2);
    if (!p || p[0] != OP_PROTO || p[1] < 2 || p[1] > 5)
        return damaged(m, "is of no protocol from 2 to 5");
    while ((p = take(m, 1)) && *p != OP_STOP) {
        lks_status st = step(m, *p);
        if (st != LKS_OK)
            return st;
    }
    if (!p)
        return damaged(m, "ends early");
    if (m->marks.n != 0 || m->stack.n != 1)
        return damaged(m, "leaves something other than one object");
    m->out->root = m->stack.items[0];
    return LKS_OK;
}

lks_status lks_pickle_read(lks_pickle *out, const unsigned char *data, size_t n, const char *path, lks_error *err)
{
    if (n > MAX_PICKLE)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: its pickle has %zu bytes, at most %d are read", path, n,
                             MAX_PICKLE);
    lks_pickle pickle = {0};
    machine m = {.data = data, .n = n, .out = &pickle, .path = path, .err = err};
    lks_status st = run(&m);
    free(m.stack.items);
    free(m.marks.items);
    free(m.memo.items);
    if (st != LKS_OK) {
        lks_pickle_release(&pickle);
        return st;
    }
    *out = pickle;
    return LKS_OK;
}

void lks_pickle_release(lks_pickle *pickle)
{
    free(pickle->objects);
    free(pickle->items);
    free(pickle->assignments);
    *pickle = (lks_pickle){0};
}
