/* Damaged and malicious torch files: zip archives and pickles put together by hand. */
#include <stdlib.h>
#include <string.h>

#include "tests/weights/weights_test.h"

/* --- a zip writer that can be told to lie ----------------------------------------------------------------------------- */

typedef struct record {
    const char *name;
    const void *data;
    size_t n;
} record;

typedef struct lies {
    uint16_t method, flags;
    uint32_t extra_size;     /* added to the first entry's size */
    int32_t offset_of_last;  /* the last entry's offset, 0: its own */
    const char *local_name;  /* of the first entry */
    uint32_t directory_size; /* added */
    uint16_t extra_entries;
} lies;

static bytes make_zip(const record *records, size_t n, const lies *lie)
{
    bytes b = {0}, directory = {0};
    for (size_t i = 0; i < n; i++) {
        uint32_t begin = (uint32_t)b.n, n_name = (uint32_t)strlen(records[i].name);
        uint32_t size = (uint32_t)records[i].n + (i == 0 ? lie->extra_size : 0);
        put_le(&b, 0x04034B50, 4);
        put_zeros(&b, 22);
        put_le(&b, n_name, 4); /* and no extra field */
        put_text(&b, i == 0 && lie->local_name ? lie->local_name : records[i].name);
        put(&b, records[i].data, records[i].n);

        put_le(&directory, 0x02014B50, 4);
        put_zeros(&directory, 4);
        put_le(&directory, lie->flags, 2);
        put_le(&directory, lie->method, 2);
        put_zeros(&directory, 8);
        put_le(&directory, size, 4);
        put_le(&directory, size, 4);
        put_le(&directory, n_name, 2);
        put_zeros(&directory, 12);
        put_le(&directory, i == n - 1 && lie->offset_of_last ? (uint32_t)lie->offset_of_last : begin, 4);
        put_text(&directory, records[i].name);
    }
    size_t begin = b.n;
    put(&b, directory.data, directory.n);
    put_le(&b, 0x06054B50, 4);
    put_zeros(&b, 6);
    put_le(&b, n + lie->extra_entries, 2);
    put_le(&b, directory.n + lie->directory_size, 4);
    put_le(&b, begin, 4);
    put_le(&b, 0, 2);
    clear(&directory);
    return b;
}

static const float four[4] = {1, 2, 3, 4};

/* An archive with this pickle and one storage of four floats. */
static bytes make_torch(const void *pickle, size_t n)
{
    const record records[] = {{"x/data.pkl", pickle, n}, {"x/data/0", four, sizeof four}};
    return make_zip(records, 2, &(lies){0});
}

/* --- pickles in pieces ------------------------------------------------------------------------------------------------ */

#define PROTO "\x80\x02"
#define TEXT(n, s) "X" n "\0\0\0" s
#define STORAGE_OF(class, key, count)                                                                                  \
    "(" TEXT("\7", "storage") "c" class "\n" TEXT("\1", key) TEXT("\3", "cpu") "K" count "tQ"
#define STORAGE STORAGE_OF("torch\nFloatStorage", "0", "\4")
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define HOOKS                                                                                                          \
    "\x89"                                                                                                             \
    "ccollections\nOrderedDict\n)R"
/* {"a": tensor of `storage`, `offset`, `size`, `stride`} */
#define STATE(storage, offset, size, stride)                                                                           \
    PROTO "}" TEXT("\1", "a") REBUILD "(" storage offset size stride HOOKS "tRs."

static void refuse(const char *pickle, size_t n, const char *needle)
{
    bytes b = make_torch(pickle, n);
    assert_refused(lks_torch_read, &b, needle);
}

static void accept(const char *pickle, size_t n)
{
    bytes b = make_torch(pickle, n);
    assert_accepted(lks_torch_read, &b);
}

#define REFUSE(pickle, needle) refuse(pickle, sizeof(pickle) - 1, needle)
#define ACCEPT(pickle) accept(pickle, sizeof(pickle) - 1)

#define I(x) "K" x
#define T1(a) I(a) "\x85"
#define T2(a, b) I(a) I(b) "\x86"
#define HUGE_INT "\x8a\x08\0\0\0\0\0\0\0\x40" /* 2^62 */
#define NEGATIVE "J\xff\xff\xff\xff"

static void test_good(void **state)
{
    (void)state;
    ACCEPT(STATE(STORAGE, I("\0"), T1("\4"), T1("\1")));
    ACCEPT(STATE(STORAGE, I("\3"), T1("\1"), T1("\1")));
    ACCEPT(STATE(STORAGE, I("\1"), T1("\2"), T1("\2")));
    ACCEPT(STATE(STORAGE, I("\0"), ")", ")"));
    ACCEPT(STATE(STORAGE, I("\0"), T2("\2", "\2"), T2("\1", "\2")));
    ACCEPT(STATE(STORAGE, I("\4"), T1("\0"), T1("\1")));
    ACCEPT(STATE(STORAGE, I("\0"), "K\1K\7K\0\x87", "K\1K\1K\1\x87"));
    ACCEPT(STATE(STORAGE, I("\0"), T1("\1"), HUGE_INT "\x85"));
    ACCEPT(STATE(STORAGE_OF("torch\nHalfStorage", "0", "\10"), I("\0"), T1("\10"), T1("\1")));
    ACCEPT(STATE(STORAGE, I("\0"), "ctorch\nSize\n" T1("\4") "\x85R", T1("\1")));
    ACCEPT(PROTO "}.");
    ACCEPT(PROTO "}q\0" TEXT("\5", "model") "h\0s."); /* a dict that holds itself */
    ACCEPT(PROTO "]q\0h\0a0}.");                      /* a list that holds itself, dropped */
}

static void test_views(void **state)
{
    (void)state;
    REFUSE(STATE(STORAGE, I("\1"), T1("\4"), T1("\1")), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, I("\4"), T1("\1"), T1("\1")), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, I("\5"), T1("\0"), T1("\1")), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, I("\0"), T1("\3"), T1("\2")), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, I("\0"), T1("\2"), HUGE_INT "\x85"), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, I("\0"), T2("\2", "\2"), "K\2" HUGE_INT "\x86"), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, HUGE_INT, T1("\4"), T1("\1")), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, NEGATIVE, T1("\4"), T1("\1")), "tensor 'a' reaches outside its storage");
    REFUSE(STATE(STORAGE, I("\0"), HUGE_INT "\x85", T1("\0")), "impossible shape");
    REFUSE(STATE(STORAGE, I("\0"), HUGE_INT HUGE_INT "K\0\x87", "K\0K\0K\0\x87"), "impossible shape");
    REFUSE(STATE(STORAGE, I("\0"), "K\1" HUGE_INT "K\0\x87", "K\1K\1K\1\x87"), "impossible shape");
    REFUSE(STATE(STORAGE, I("\0"), T1("\5"), T1("\0")), "tensor 'a' is larger than its storage");
    REFUSE(STATE(STORAGE, I("\0"), T1("\4"), T2("\1", "\1")), "impossible shape");
    REFUSE(STATE(STORAGE, I("\0"), NEGATIVE "\x85", T1("\1")), "impossible shape");
    REFUSE(STATE(STORAGE, I("\0"), T1("\4"), NEGATIVE "\x85"), "impossible shape");
    REFUSE(STATE(STORAGE, I("\0"), "N\x85", T1("\1")), "impossible shape");
    REFUSE(STATE(STORAGE, I("\0"), "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"),
           "tensor 'a' has 9 dimensions");
    REFUSE(STATE(STORAGE, "N", T1("\4"), T1("\1")), "rebuilds a tensor from something else");
    REFUSE(STATE(STORAGE, I("\0"), I("\4"), T1("\1")), "rebuilds a tensor from something else");
    REFUSE(STATE("N", I("\0"), T1("\4"), T1("\1")), "rebuilds a tensor from something else");
}

static void test_storages(void **state)
{
    (void)state;
    REFUSE(STATE(STORAGE_OF("torch\nFloatStorage", "1", "\4"), I("\0"), T1("\4"), T1("\1")), "has no storage");
    REFUSE(STATE(STORAGE_OF("torch\nFloatStorage", "0", "\5"), I("\0"), T1("\4"), T1("\1")), "has no storage");
    REFUSE(STATE(STORAGE_OF("torch\nFloatStorage", "0", "\3"), I("\0"), T1("\3"), T1("\1")), "has no storage");
    REFUSE(STATE(STORAGE_OF("torch\nDoubleStorage", "0", "\4"), I("\0"), T1("\4"), T1("\1")), "has no storage");
    REFUSE(STATE(STORAGE_OF("torch\nQInt8Storage", "0", "\4"), I("\0"), T1("\4"), T1("\1")), "'torch.QInt8Storage'");
    REFUSE(STATE(STORAGE_OF("torch\nSize", "0", "\4"), I("\0"), T1("\4"), T1("\1")), "a reference that is no storage");
    REFUSE(PROTO "}Q.", "a reference that is no storage");
    REFUSE(PROTO ")Q.", "a reference that is no storage");
    REFUSE(PROTO "Q.", "a reference that is no storage");
}

static void test_pickles(void **state)
{
    (void)state;
    REFUSE("", "no protocol");
    REFUSE("\x80", "no protocol");
    REFUSE("\x80\x01}.", "no protocol");
    REFUSE("\x80\x06}.", "no protocol");
    REFUSE("}.", "no protocol");
    REFUSE(PROTO, "ends early");
    REFUSE(PROTO "}", "ends early");
    REFUSE(PROTO ".", "something other than one object");
    REFUSE(PROTO "}}.", "something other than one object");
    REFUSE(PROTO "(}.", "something other than one object");
    REFUSE(PROTO "N.", "holds no state dict");
    REFUSE(PROTO "cposix\nsystem\nX\2\0\0\0id\x85R.", "'posix.system'");
    REFUSE("\x80\x04\x8c\x08"
           "builtins\x8c\x04"
           "eval\x93\x8c\x01"
           "1\x85R.",
           "'builtins.eval'");
    REFUSE(PROTO "c\x1b[2J\nx\n.", "'?[2J.x'");
    REFUSE("\x80\x04NN\x93.", "names something by what is no text");
    REFUSE(PROTO "ctorch", "ends inside a name");
    REFUSE(PROTO "ctorch\nSize", "ends inside a name");
    REFUSE(PROTO "i.", "an opcode that no state dict needs");
    REFUSE(PROTO "ctorch\nSize\n)\x81.", "an opcode that no state dict needs");
    REFUSE(PROTO "\xff.", "an opcode that no state dict needs");
    REFUSE(PROTO "0.", "pops from an empty stack");
    REFUSE(PROTO "}(0.", "pops from an empty stack");
    REFUSE(PROTO "2.", "copies nothing");
    REFUSE(PROTO "}1.", "closes what it never opened");
    REFUSE(PROTO "t.", "closes what it never opened");
    REFUSE(PROTO "\x85.", "takes a tuple from an empty stack");
    REFUSE(PROTO "}(\x85.", "takes a tuple from an empty stack");
    REFUSE(PROTO "}Ns.", "sets an odd number of items");
    REFUSE(PROTO "}(Nu.", "sets an odd number of items");
    REFUSE(PROTO "(NNu.", "sets an odd number of items");
    REFUSE(PROTO "NNNs.", "sets items of what is no dict");
    REFUSE(PROTO "}Na.", "appends to what is no list");
    REFUSE(PROTO "(e.", "appends to what is no list");
    REFUSE(PROTO "h\0.", "recalls what it never remembered");
    REFUSE(PROTO "}q\1.", "remembers nothing or out of order");
    REFUSE(PROTO "q\0.", "remembers nothing or out of order");
    REFUSE(PROTO "}r\xff\xff\xff\xff.", "remembers nothing or out of order");
    REFUSE(PROTO "}j\xff\xff\xff\xff.", "recalls what it never remembered");
    REFUSE(PROTO "}r\0\0.", "ends early");
    REFUSE(PROTO "X\xff\xff\xff\x7f"
                 "abc.",
           "ends inside a string");
    REFUSE("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
           "abc.",
           "ends inside a string");
    REFUSE(PROTO "X\1", "ends inside a string");
    REFUSE(PROTO "J\1", "ends inside a number");
    REFUSE(PROTO "G\1", "ends inside a number");
    REFUSE(PROTO "\x8a\x09\1\1\1\1\1\1\1\1\1.", "more than 64 bits");
    REFUSE(PROTO "\x8a\x05\1", "more than 64 bits");
    REFUSE(PROTO "]}b.", "sets attributes of what is no dict");
    REFUSE(PROTO "NNb.", "sets attributes of what is no dict");
    REFUSE(PROTO "NR.", "calls what is no class");
    REFUSE(PROTO "N)R.", "calls what is no class");
    REFUSE(PROTO "ctorch\nFloatStorage\n)R.", "calls a class in an unknown way");
    REFUSE(PROTO "ctorch\nSize\n)R.", "calls a class in an unknown way");
    REFUSE(PROTO "ccollections\nOrderedDict\n]\x85R.", "an old way");
    REFUSE(PROTO "ctorch._utils\n_rebuild_parameter\nN\x85R.", "calls a class in an unknown way");
    REFUSE(PROTO "ctorch._utils\n_rebuild_tensor_v2\n)R.", "rebuilds a tensor from something else");
}

/* A tensor under a name that is a number, and one under a name with an escape sequence. */
static void test_names(void **state)
{
    (void)state;
#define TENSOR REBUILD "(" STORAGE I("\0") T1("\4") T1("\1") HOOKS "tR"
    REFUSE(PROTO "}K\1" TENSOR "s.", "a tensor's name is no text");
    REFUSE(PROTO "}" TEXT("\2", "a\7") TENSOR "s.", "'a?' cannot be a tensor's name");
    REFUSE(PROTO "}" TEXT("\0", "") TENSOR "s.", "cannot be a tensor's name");
}

static const char empty_dict[] = PROTO "}.";

static void refuse_zip(const record *records, size_t n, const lies *lie, const char *needle)
{
    bytes b = make_zip(records, n, lie);
    assert_refused(lks_torch_read, &b, needle);
}

static void test_archives(void **state)
{
    (void)state;
    const record good[] = {{"x/data.pkl", empty_dict, 4}, {"x/byteorder", "little", 6}, {"x/data/0", four, 16}};
    bytes b = make_zip(good, 3, &(lies){0});
    assert_accepted(lks_torch_read, &b);
    refuse_zip(good, 3, &(lies){.method = 8}, "entry 'x/data.pkl' is compressed or encrypted");
    refuse_zip(good, 3, &(lies){.flags = 1}, "entry 'x/data.pkl' is compressed or encrypted");
    refuse_zip(good, 3, &(lies){.extra_size = 1}, "entries that overlap");
    refuse_zip(good, 3, &(lies){.extra_size = 1 << 30}, "entry 'x/data.pkl' is longer than the file");
    refuse_zip(good, 3, &(lies){.extra_size = UINT32_MAX - 4}, "entry 'x/data.pkl' has no consistent size");
    refuse_zip(good, 3, &(lies){.offset_of_last = 1}, "entry 'x/data/0' has no local header");
    refuse_zip(good, 3, &(lies){.offset_of_last = INT32_MAX}, "entry 'x/data/0' has no local header");
    refuse_zip(good, 3, &(lies){.local_name = "y/data.pkl"}, "entry 'x/data.pkl' has another name");
    refuse_zip(good, 3, &(lies){.directory_size = 1}, "lies outside the file");
    refuse_zip(good, 3, &(lies){.directory_size = (uint32_t)-1}, "cut off");
    refuse_zip(good, 3, &(lies){.extra_entries = 1}, "lies outside the file");
    refuse_zip(good, 3, &(lies){.extra_entries = 60000}, "lies outside the file");
    refuse_zip(good, 3, &(lies){.extra_entries = (uint16_t)-1}, "of another length");
    const record big[] = {{"x/data.pkl", empty_dict, 4}, {"x/byteorder", "big", 3}};
    refuse_zip(big, 2, &(lies){0}, "not little-endian");
    const record twins[] = {{"x/data.pkl", empty_dict, 4}, {"x/data.pkl", empty_dict, 4}};
    refuse_zip(twins, 2, &(lies){0}, "two entries of one name");
    refuse_zip(twins, 2, &(lies){.offset_of_last = -1}, "no consistent size");
    const record other[] = {{"word/document.xml", "<a/>", 4}};
    refuse_zip(other, 1, &(lies){0}, "without data.pkl");
    refuse_zip(other, 0, &(lies){0}, "without data.pkl");
    b = (bytes){0};
    put_text(&b, "PK\3\4");
    put_zeros(&b, 100);
    assert_refused(lks_torch_read, &b, "has no end record");
}

/* zip64: the locator, the end record and an entry's extra field are checked like their small forms. */
static void test_zip64(void **state)
{
    (void)state;
    bytes good = load(DATA "views.bin");
    size_t locator = good.n - 22 - 20;
    assert_memory_equal(good.data + locator, "PK\6\7", 4); /* torch writes zip64 always */
    static const size_t fields[] = {8, 8 + 7};
    for (size_t i = 0; i < 2; i++) {
        bytes b = {0};
        put(&b, good.data, good.n);
        b.data[locator + fields[i]] ^= 0x7F;
        assert_refused(lks_torch_read, &b, "zip64 locator that points nowhere");
    }
    size_t end = locator - 56;
    static const size_t values[] = {32 + 7, 40 + 7, 48 + 7, 32 + 1, 40 + 2};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        bytes b = {0};
        put(&b, good.data, good.n);
        b.data[end + values[i]] ^= 0x40;
        assert_refused(lks_torch_read, &b, "lies outside the file");
    }
    clear(&good);
}

static void test_mutations(void **state)
{
    (void)state;
    static const char *const paths[] = {DATA "views.bin", DATA "protocol4.bin", DATA "checkpoint.bin"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        bytes b = load(paths[i]);
        check_truncations(lks_torch_read, &b, b.n);
        check_flips(lks_torch_read, &b);
        clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_views),     cmocka_unit_test(test_storages),
        cmocka_unit_test(test_pickles), cmocka_unit_test(test_names),     cmocka_unit_test(test_archives),
        cmocka_unit_test(test_zip64),   cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
