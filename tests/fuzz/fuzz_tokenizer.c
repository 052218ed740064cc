/* Fuzzes tokenizers: a tokenizer.json, then a zero byte and the text to encode; or, when it does not begin with a brace, a
 * SentencePiece model. What opens must encode any text, decode to UTF-8 what it has encoded, and
 * open again from its own texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char USUAL_TEXT[] =
    "Zwei H\xC3\xBCnde  don't \xE2\x96\x81 \xF0\x9F\x90\x95 e\xCC\x81\xE2\x80\x8D<s>\x01 42";

static void use(const lks_tokenizer *tokenizer, const char *text, size_t n)
{
    lks_error err;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    char *said = NULL;
    if (lks_tokenizer_encode(tokenizer, &ids, &n_ids, text, n, true, &err) == LKS_OK) {
        for (size_t i = 0; i < n_ids; i++)
            if (ids[i] < 0)
                abort();
        if (lks_tokenizer_decode(tokenizer, &said, ids, n_ids, false, &err) == LKS_OK && strlen(said) > (size_t)1 << 24)
            abort();
    }
    free(said);
    free(ids);
}

static void open_and_use(const char *json, size_t n_json, const char *text, size_t n_text)
{
    lks_error err;
    lks_tokenizer *tokenizer = NULL;
    lks_tokenizer_texts texts = {.json = json, .n_json = n_json};
    if (lks_tokenizer_open_texts(&tokenizer, &texts, "fuzz", &err) != LKS_OK)
        return;
    use(tokenizer, text, n_text);
    if (lks_tokenizer_to_texts(tokenizer, &texts, &err) != LKS_OK)
        abort();
    lks_tokenizer_close(tokenizer);
    if (lks_tokenizer_open_texts(&tokenizer, &texts, "fuzz", &err) != LKS_OK)
        abort();
    use(tokenizer, text, n_text);
    lks_tokenizer_close(tokenizer);
    lks_tokenizer_texts_free(&texts);
}

static void read_sentencepiece(const uint8_t *data, size_t size)
{
    int file = memfd_create("fuzz", 0);
    if (file < 0)
        return;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    lks_error err;
    json_t *root = NULL;
    bool numbered_raw;
    if (write(file, data, size) == (ssize_t)size &&
        lks_spm_read(&root, &numbered_raw, path, size % 2 == 0, NULL, &err) == LKS_OK) {
        char *json = json_dumps(root, JSON_COMPACT);
        if (json)
            open_and_use(json, strlen(json), USUAL_TEXT, sizeof USUAL_TEXT - 1);
        free(json);
    }
    json_decref(root);
    close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] != '{') {
        read_sentencepiece(data, size);
        return 0;
    }
    const uint8_t *end = memchr(data, 0, size);
    if (end)
        open_and_use((const char *)data, (size_t)(end - data), (const char *)end + 1, size - (size_t)(end - data) - 1);
    else
        open_and_use((const char *)data, size, USUAL_TEXT, sizeof USUAL_TEXT - 1);
    return 0;
}
