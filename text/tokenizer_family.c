/* Tokenizer classes: what transformers makes of a vocabulary by its class, whatever steps the file holds.
 *
 *   BertTokenizer         BertNormalizer, BERT's splitter, WordPiece                [CLS] text [SEP]
 *   GPT2Tokenizer         byte-level BPE                                            text
 *   RobertaTokenizer      byte-level BPE                                            <s> text </s>
 *   XLMRobertaTokenizer   the character map, white space, Metaspace, Unigram        <s> text </s> */
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

#include <string.h>

static const char *const SPECIAL_KEYS[LKS_N_SPECIALS] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                         "pad_token", "cls_token", "mask_token"};
enum { BOS, EOS, UNK, SEP, PAD, CLS, MASK };

struct lks_family {
    const char *class, *model;
    const char *specials[LKS_N_SPECIALS]; /* when no file names others */
};

enum { BERT, GPT2, ROBERTA, XLM_ROBERTA };

static const lks_family FAMILIES[] = {
    [BERT] = {"BertTokenizer", "WordPiece", {NULL, NULL, "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}},
    [GPT2] = {"GPT2Tokenizer", "BPE", {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, NULL, NULL, NULL}},
    [ROBERTA] = {"RobertaTokenizer", "BPE", {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"}},
    [XLM_ROBERTA] = {"XLMRobertaTokenizer", "Unigram", {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"}},
};

/* Tokenizer classes and model types that behave as one of the families. */
static const struct {
    const char *name;
    int family;
} NAMES[] = {
    {"BertTokenizer", BERT},
    {"DistilBertTokenizer", BERT},
    {"ElectraTokenizer", BERT},
    {"GPT2Tokenizer", GPT2},
    {"RobertaTokenizer", ROBERTA},
    {"BartTokenizer", ROBERTA},
    {"XLMRobertaTokenizer", XLM_ROBERTA},
    {"bert", BERT},
    {"blip", BERT},
    {"blip_text_model", BERT},
    {"distilbert", BERT},
    {"electra", BERT},
    {"git", BERT},
    {"gpt2", GPT2},
    {"roberta", ROBERTA},
    {"bart", ROBERTA},
    {"florence2", ROBERTA},
    {"xlm-roberta", XLM_ROBERTA},
};

const lks_family *lks_family_of(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n > 4 && strcmp(name + n - 4, "Fast") == 0)
        n -= 4;
    for (size_t i = 0; n && i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strlen(NAMES[i].name) == n && memcmp(NAMES[i].name, name, n) == 0)
            return &FAMILIES[NAMES[i].family];
    }
    return NULL;
}

bool lks_family_is_xlm_roberta(const lks_family *family)
{
    return family == &FAMILIES[XLM_ROBERTA];
}

const json_t *lks_special_value(const json_t *config, const json_t *specials, size_t which)
{
    const json_t *value = json_object_get(specials, SPECIAL_KEYS[which]);
    return value && !json_is_null(value) ? value : json_object_get(config, SPECIAL_KEYS[which]);
}

const char *lks_special_text(const lks_family *family, const json_t *config, const json_t *specials, size_t which)
{
    const json_t *value = lks_special_value(config, specials, which);
    const char *text =
        json_is_string(value) ? json_string_value(value) : json_string_value(json_object_get(value, "content"));
    if (!text && !json_is_null(value) && family)
        text = family->specials[which];
    return text && *text ? text : NULL;
}

static json_t *metaspace(bool add_prefix_space)
{
    return json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", "\xE2\x96\x81", "prepend_scheme",
                     add_prefix_space ? "always" : "never", "split", true);
}

static int set_bert(json_t *root, json_t *model, const json_t *config, const char *unk)
{
    const json_t *accents = json_object_get(config, "strip_accents");
    json_t *normalizer =
        json_pack("{s:s, s:b, s:b, s:o, s:b}", "type", "BertNormalizer", "clean_text", true, "handle_chinese_chars",
                  lks_token_json_bool(config, "tokenize_chinese_chars", true), "strip_accents",
                  json_is_boolean(accents) ? json_boolean(json_is_true(accents)) : json_null(), "lowercase",
                  lks_token_json_bool(config, "do_lower_case", true));
    int failed = json_object_set_new(root, "normalizer", normalizer);
    failed |= json_object_set_new(root, "pre_tokenizer", json_pack("{s:s}", "type", "BertPreTokenizer"));
    failed |= json_object_set_new(root, "decoder",
                                  json_pack("{s:s, s:s, s:b}", "type", "WordPiece", "prefix", "##", "cleanup", true));
    failed |= json_object_set_new(model, "unk_token", json_string(unk ? unk : "[UNK]"));
    failed |= json_object_set_new(model, "continuing_subword_prefix", json_string("##"));
    return failed | json_object_set_new(model, "max_input_chars_per_word", json_integer(100));
}

static int set_byte_level(json_t *root, json_t *model, const json_t *config)
{
    static const char *const unused[] = {
        "dropout",       "unk_token",    "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
        "byte_fallback", "ignore_merges"};
    int failed = 0;
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        failed |= json_object_set_new(model, unused[i], json_null());
    failed |= json_object_set_new(root, "normalizer", json_null());
    failed |= json_object_set_new(root, "pre_tokenizer",
                                  json_pack("{s:s, s:b}", "type", "ByteLevel", "add_prefix_space",
                                            lks_token_json_bool(config, "add_prefix_space", false)));
    return failed | json_object_set_new(root, "decoder", json_pack("{s:s}", "type", "ByteLevel"));
}

/* Only the character map of the file's normalizers stays. */
static json_t *find_char_map(json_t *normalizer)
{
    if (strcmp(lks_token_json_type(normalizer), "Precompiled") == 0)
        return json_incref(normalizer);
    const json_t *list = json_object_get(normalizer, "normalizers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(lks_token_json_type(json_array_get(list, i)), "Precompiled") == 0)
            return json_incref(json_array_get(list, i));
    }
    return json_null();
}

static int set_xlm_roberta(json_t *root, json_t *model, const json_t *config)
{
    bool prefix = lks_token_json_bool(config, "add_prefix_space", true);
    int failed = json_object_set_new(root, "normalizer", find_char_map(json_object_get(root, "normalizer")));
    failed |= json_object_set_new(root, "pre_tokenizer",
                                  json_pack("{s:s, s:[{s:s}, o]}", "type", "Sequence", "pretokenizers", "type",
                                            "WhitespaceSplit", metaspace(prefix)));
    failed |= json_object_set_new(root, "decoder", metaspace(prefix));
    failed |= json_object_set_new(model, "unk_id", json_integer(3));
    return failed | json_object_set_new(model, "byte_fallback", json_false());
}

int lks_family_apply(const lks_family *family, json_t *root, const json_t *config, const json_t *specials)
{
    json_t *model = json_object_get(root, "model");
    const char *type = lks_token_json_type(model);
    if (!family || (*type && strcmp(type, family->model) != 0) || !json_is_object(model))
        return 0;
    if (!*type && json_object_set_new(model, "type", json_string(family->model)) != 0)
        return -1;
    if (family == &FAMILIES[BERT])
        return set_bert(root, model, config, lks_special_text(family, config, specials, UNK));
    return family == &FAMILIES[XLM_ROBERTA] ? set_xlm_roberta(root, model, config)
                                            : set_byte_level(root, model, config);
}

static int put_special(json_t *single, json_t *special, const lks_tokenizer *plain, const char *token)
{
    if (!token)
        return 0;
    int failed = json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", token, "type_id", 0));
    return failed | json_object_set_new(special, token,
                                        json_pack("{s:s, s:[i], s:[s]}", "id", token, "ids",
                                                  lks_tokenizer_id(plain, token), "tokens", token));
}

int lks_family_set_template(const lks_family *family, json_t *root, const lks_tokenizer *plain, const json_t *config,
                            const json_t *specials)
{
    const json_t *add_bos = json_object_get(config, "add_bos_token");
    const json_t *add_eos = json_object_get(config, "add_eos_token");
    const char *before = NULL, *after = NULL;
    if (json_is_boolean(add_bos) || json_is_boolean(add_eos)) {
        before = json_is_true(add_bos) ? lks_special_text(family, config, specials, BOS) : NULL;
        after = json_is_true(add_eos) ? lks_special_text(family, config, specials, EOS) : NULL;
    } else if (family && family != &FAMILIES[GPT2]) {
        bool xlm = family == &FAMILIES[XLM_ROBERTA];
        before = lks_special_text(family, config, specials, xlm ? BOS : CLS);
        after = lks_special_text(family, config, specials, xlm ? EOS : SEP);
    } else {
        return 0;
    }
    json_t *single = json_array(), *special = json_object();
    int failed = put_special(single, special, plain, before);
    failed |= json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
    failed |= put_special(single, special, plain, after);
    return failed | json_object_set_new(root, "post_processor",
                                        json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                                                  "special_tokens", special));
}
