/* What the encoder made of photos, kept in a file: see feature_cache.h. */
#include "apps/common/feature_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apps/common/complain.h"

enum {
    APPLICATION_ID = 0x4c6b7366, /* "Lksf" */
    FORMAT = 1,                  /* user_version */
    BUSY_MS = 10000,             /* how long one process waits for another */
    PAGE_BYTES = 16384,          /* a value fills several */
    USED_SECONDS = 3600,         /* how old `used` gets before it is set again */
    SETTLE_MS = 10,
    MIN_BYTES = 512, /* of an SQLite file that is not empty; it takes a shorter one for empty */
    ID_OFFSET = 68   /* of application_id in the file, big-endian */
};

enum { GET, TOUCH, PUT, DROP, N_STATEMENTS };
static const char *const statements[N_STATEMENTS] = {
    "SELECT value, used FROM features WHERE key = ?1",
    "UPDATE features SET used = ?2 WHERE key = ?1",
    "INSERT OR REPLACE INTO features (key, used, value) VALUES (?1, ?2, ?3)",
    "DELETE FROM features WHERE key IN (SELECT key FROM features ORDER BY used, rowid LIMIT max(1, (SELECT count(*) "
    "FROM "
    "features) / 16))",
};

struct feature_cache {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *statements[N_STATEMENTS];
    uint64_t max_bytes;
    uint64_t looker;   /* hash of what looks: model, precision, instruction set */
    bool broken, full; /* broken: no longer used; full: no longer added to */
    bool damaged;      /* to be removed, so that the next run makes it anew */
};

/* What stands before the numbers in a value. */
typedef struct value_head {
    uint64_t hash; /* of all that follows */
    int32_t n_tokens, d_token, width, height, damaged, kind;
} value_head;

/* ---- what looks ---- */

static bool hash_file(uint64_t *hash, const char *path)
{
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return false;
    bool read = fstat(file, &info) == 0;
    if (read && S_ISREG(info.st_mode) && info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        read = bytes != MAP_FAILED;
        if (read) {
            uint64_t own = hash_content(bytes, (size_t)info.st_size);
            *hash = hash_more(*hash, &own, sizeof own);
            munmap(bytes, (size_t)info.st_size);
        }
    }
    close(file);
    return read;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Of a model file, or of all files of a directory and their names. */
static bool hash_model(uint64_t *hash, const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_visible, by_bytes);
    if (n < 0)
        return errno == ENOTDIR && hash_file(hash, path);
    bool read = true;
    for (int i = 0; i < n; i++) {
        char name[PATH_MAX + NAME_MAX + 2];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        *hash = hash_more(*hash, entries[i]->d_name, strlen(entries[i]->d_name) + 1);
        read = read && hash_file(hash, name);
        free(entries[i]);
    }
    free(entries);
    return read;
}

/* Everything but the photo that features depend on. */
static bool hash_looker(uint64_t *hash, const char *model_path, const lks_model *model, bool lenient)
{
    char *text = NULL;
    if (lks_model_info(model, &text, NULL) != LKS_OK)
        return false;
    json_t *info = json_loads(text, 0, NULL);
    const char *isa = json_string_value(json_object_get(info, "isa"));
    char how[128];
    int n = snprintf(how, sizeof how, "features %d, looksay %s, %s, %s, %d", FORMAT, lks_version(),
                     lks_model_dtype(model), isa ? isa : "", lenient);
    *hash = hash_more(HASH_START, how, (size_t)n);
    json_decref(info);
    lks_free(text);
    return hash_model(hash, model_path);
}

/* ---- the file ---- */

/* Whether the file says that it is a cache, whatever else of it is damaged. */
static bool is_ours(const char *path)
{
    unsigned char id[4];
    FILE *file = fopen(path, "r");
    bool read = file && fseek(file, ID_OFFSET, SEEK_SET) == 0 && fread(id, 1, sizeof id, file) == sizeof id;
    if (file)
        fclose(file);
    return read && memcmp(id, "Lksf", sizeof id) == 0;
}

/* Whether the last call failed because a cache of ours is damaged. */
static bool is_damaged(const feature_cache *c)
{
    int error = sqlite3_errcode(c->db) & 0xff;
    return (error == SQLITE_CORRUPT || error == SQLITE_NOTADB) && is_ours(c->path);
}

/* One message, and the cache is out of use. */
static void give_up(feature_cache *c, const char *what)
{
    if (!c->broken)
        complain("%s: %s: %s; going on without it", c->path, what, sqlite3_errmsg(c->db));
    c->broken = true;
    c->damaged = is_damaged(c);
}

static void close_file(feature_cache *c)
{
    for (int i = 0; i < N_STATEMENTS; i++) {
        sqlite3_finalize(c->statements[i]);
        c->statements[i] = NULL;
    }
    sqlite3_close(c->db);
    c->db = NULL;
}

/* Removes the closed file, and what SQLite keeps beside it. */
static void remove_file(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[PATH_MAX];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (snprintf(name, sizeof name, "%s%s", path, ends[i]) < (int)sizeof name)
            unlink(name);
}

static bool run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

#define NO_NUMBER INT64_MIN

/* The number that a statement gives, or none. */
static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int64_t number = NO_NUMBER;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        number = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return number;
}

/* Write-ahead logging: readers and one writer do not wait for each other. Switching to it is the one step for which SQLite's own
 * waiting does not hold. */
static bool begin_logging(sqlite3 *db)
{
    for (int waited = 0; waited < BUSY_MS; waited += SETTLE_MS) {
        if (run(db, "PRAGMA journal_mode = WAL"))
            return true;
        if (sqlite3_errcode(db) != SQLITE_BUSY)
            return false;
        sqlite3_sleep(SETTLE_MS);
    }
    return false;
}

/* Makes the tables of a new file; of two processes that try, one does it. */
static bool create(sqlite3 *db)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "CREATE TABLE IF NOT EXISTS features (key BLOB NOT NULL PRIMARY KEY, used INTEGER NOT NULL, value BLOB "
             "NOT NULL);"
             "CREATE INDEX IF NOT EXISTS by_use ON features (used);"
             "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             APPLICATION_ID, FORMAT);
    return run(db, "BEGIN IMMEDIATE") && run(db, sql);
}

typedef enum take_result { TAKEN, REFUSED, UNUSABLE, DAMAGED } take_result;

/* Makes a new file ours, and refuses what is not, after a message; of one that is ours, tells whether it can be used. */
static take_result take(feature_cache *c)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA page_size = %d", PAGE_BYTES);
    int64_t n_tables = ask(c->db, "SELECT count(*) FROM sqlite_schema"),
            id = n_tables == NO_NUMBER ? NO_NUMBER : ask(c->db, "PRAGMA application_id");
    if (id == NO_NUMBER) {
        if (is_ours(c->path))
            return is_damaged(c) ? DAMAGED : UNUSABLE;
        complain("%s: is no cache of features: %s; name another file, or remove this one", c->path,
                 sqlite3_errmsg(c->db));
        return REFUSED;
    }
    if (id != APPLICATION_ID && (id != 0 || n_tables > 0)) {
        complain("%s: is another program's SQLite file, and left alone; name another for the cache", c->path);
        return REFUSED;
    }
    if (id == APPLICATION_ID && ask(c->db, "PRAGMA user_version") != FORMAT) {
        complain("%s: was made by another version of looksay; name another file, or remove this one", c->path);
        return REFUSED;
    }
    bool done = (id == APPLICATION_ID || (run(c->db, sql) && begin_logging(c->db) && create(c->db))) &&
                run(c->db, "PRAGMA synchronous = NORMAL");
    for (int i = 0; i < N_STATEMENTS && done; i++)
        done = sqlite3_prepare_v3(c->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &c->statements[i], NULL) ==
               SQLITE_OK;
    return done ? TAKEN : is_damaged(c) ? DAMAGED : UNUSABLE;
}

/* Opens the file, or makes it. */
static take_result open_file(feature_cache *c)
{
    if (sqlite3_open_v2(c->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        complain("%s: cannot be opened: %s", c->path, c->db ? sqlite3_errmsg(c->db) : "out of memory");
        return REFUSED;
    }
    sqlite3_busy_timeout(c->db, BUSY_MS);
    return take(c);
}

/* Opens the file; what is damaged of ours is made anew, and what then cannot be used is done without, after a message. */
static bool open_or_do_without(feature_cache *c)
{
    take_result result = open_file(c);
    if (result == DAMAGED) {
        complain("%s: is damaged: %s; it is made anew", c->path, sqlite3_errmsg(c->db));
        close_file(c);
        remove_file(c->path);
        result = open_file(c);
    }
    if (result == UNUSABLE || result == DAMAGED)
        give_up(c, "cannot be used as a cache of features");
    return result != REFUSED;
}

bool feature_cache_is_built(void)
{
    return true;
}

bool feature_cache_open(feature_cache **out, const char *path, uint64_t max_bytes, const char *model_path,
                        const lks_model *model, bool lenient)
{
    feature_cache *c = calloc(1, sizeof *c);
    if (!c || !(c->path = strdup(path))) {
        free(c);
        complain("out of memory");
        return false;
    }
    c->max_bytes = max_bytes;
    struct stat info = {.st_size = 0};
    bool done = true;
    if (!hash_looker(&c->looker, model_path, model, lenient)) {
        complain("%s: cannot be read through, as a cache of features needs it to be", model_path);
        done = false;
    } else if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        complain("%s: is no regular file, so it cannot hold features", path);
        done = false;
    } else if (info.st_size > 0 && info.st_size < MIN_BYTES && !is_ours(path)) {
        complain("%s: is no cache of features; name another file, or remove this one", path);
        done = false;
    } else {
        done = open_or_do_without(c);
    }
    if (!done) {
        feature_cache_close(c);
        return false;
    }
    *out = c;
    return true;
}

void feature_cache_close(feature_cache *cache)
{
    if (!cache)
        return;
    close_file(cache);
    if (cache->damaged)
        remove_file(cache->path);
    free(cache->path);
    free(cache);
}

/* ---- photos ---- */

typedef struct feature_key {
    uint64_t looker, size, hash;
} feature_key;

/* Binds the photo's key, runs to the first row or the end, and tells which. */
static int step(feature_cache *c, int which, const feature_key *key)
{
    sqlite3_stmt *s = c->statements[which];
    if (key && sqlite3_bind_blob(s, 1, key, sizeof *key, SQLITE_STATIC) != SQLITE_OK)
        return SQLITE_NOMEM;
    return sqlite3_step(s);
}

static void end(feature_cache *c, int which)
{
    sqlite3_reset(c->statements[which]);
    sqlite3_clear_bindings(c->statements[which]);
}

/* The features in a value; NULL: it is damaged. */
static lks_features *read_value(const void *bytes, size_t n)
{
    value_head head;
    if (n < sizeof head)
        return NULL;
    memcpy(&head, bytes, sizeof head);
    const char *behind = (const char *)bytes + sizeof head.hash;
    size_t n_floats = (n - sizeof head) / sizeof(float);
    if (hash_content(behind, n - sizeof head.hash) != head.hash || head.n_tokens < 1 || head.d_token < 1 ||
        (uint64_t)head.n_tokens * (uint64_t)head.d_token != n_floats || (n - sizeof head) % sizeof(float) != 0)
        return NULL;
    lks_features *f = malloc(sizeof *f + n_floats * sizeof(float));
    if (!f)
        return NULL;
    *f = (lks_features){.n_tokens = head.n_tokens,
                        .d_token = head.d_token,
                        .tokens = memcpy(f + 1, (const char *)bytes + sizeof head, n_floats * sizeof(float)),
                        .width = head.width,
                        .height = head.height,
                        .damaged = head.damaged,
                        .kind = (lks_picture_kind)head.kind};
    return f;
}

/* Malloc'ed; NULL when out of memory. */
static char *make_value(size_t *n, const lks_features *f)
{
    value_head head = {.n_tokens = f->n_tokens,
                       .d_token = f->d_token,
                       .width = f->width,
                       .height = f->height,
                       .damaged = f->damaged,
                       .kind = (int32_t)f->kind};
    size_t n_tokens = (size_t)f->n_tokens * (size_t)f->d_token * sizeof(float);
    char *value = malloc(sizeof head + n_tokens);
    if (!value)
        return NULL;
    *n = sizeof head + n_tokens;
    memcpy(value, &head, sizeof head);
    memcpy(value + sizeof head, f->tokens, n_tokens);
    uint64_t hash = hash_content(value + sizeof hash, *n - sizeof hash);
    memcpy(value, &hash, sizeof hash);
    return value;
}

lks_features *feature_cache_get(feature_cache *cache, content_id photo)
{
    if (cache->broken)
        return NULL;
    const feature_key key = {cache->looker, photo.size, photo.hash};
    lks_features *found = NULL;
    sqlite3_int64 now = (sqlite3_int64)time(NULL), used = now;
    int got = step(cache, GET, &key);
    if (got == SQLITE_ROW) {
        const void *bytes = sqlite3_column_blob(cache->statements[GET], 0);
        int n = sqlite3_column_bytes(cache->statements[GET], 0);
        found = bytes && n > 0 ? read_value(bytes, (size_t)n) : NULL;
        used = sqlite3_column_int64(cache->statements[GET], 1);
    } else if (got != SQLITE_DONE && got != SQLITE_BUSY) {
        give_up(cache, "cannot be read");
    }
    end(cache, GET);
    if (found && !cache->full && (now - used > USED_SECONDS || used > now)) {
        sqlite3_bind_int64(cache->statements[TOUCH], 2, now);
        step(cache, TOUCH, &key); /* a row that looks older than it is: no more can come of a failure */
        end(cache, TOUCH);
    }
    return found;
}

/* Makes room for n_bytes. */
static bool evict(feature_cache *c, uint64_t n_bytes)
{
    int64_t page = ask(c->db, "PRAGMA page_size");
    for (;;) {
        int64_t n_pages = ask(c->db, "PRAGMA page_count"), n_free = ask(c->db, "PRAGMA freelist_count");
        if (page < 0 || n_pages < 0 || n_free < 0)
            return false;
        uint64_t in_use = (uint64_t)(n_pages - n_free) * (uint64_t)page;
        if (in_use + n_bytes <= c->max_bytes)
            return true;
        int got = step(c, DROP, NULL);
        bool dropped = got == SQLITE_DONE && sqlite3_changes(c->db) > 0;
        end(c, DROP);
        if (!dropped)
            return false;
    }
}

void feature_cache_put(feature_cache *cache, content_id photo, const lks_features *features)
{
    if (cache->broken || cache->full)
        return;
    size_t n;
    char *value = make_value(&n, features);
    if (!value)
        return;
    const feature_key key = {cache->looker, photo.size, photo.hash};
    bool begun = run(cache->db, "BEGIN IMMEDIATE"), done = begun;
    if (done && evict(cache, n + PAGE_BYTES)) {
        sqlite3_bind_int64(cache->statements[PUT], 2, (sqlite3_int64)time(NULL));
        sqlite3_bind_blob64(cache->statements[PUT], 3, value, n, SQLITE_STATIC);
        done = step(cache, PUT, &key) == SQLITE_DONE;
        end(cache, PUT);
    }
    done = done && run(cache->db, "COMMIT");
    int error = sqlite3_errcode(cache->db) & 0xff;
    free(value);
    if (done || error == SQLITE_BUSY || error == SQLITE_LOCKED) {
        if (!done && begun)
            run(cache->db, "ROLLBACK");
        return;
    }
    if (error == SQLITE_READONLY || error == SQLITE_FULL) {
        complain("%s: takes no more: %s; what is in it still serves", cache->path, sqlite3_errmsg(cache->db));
        cache->full = true;
    } else {
        give_up(cache, "cannot be written");
    }
    if (begun)
        run(cache->db, "ROLLBACK");
}
