/* Decoder configurations with the defaults of GPT2Config, BertConfig, RobertaConfig, TrOCRConfig and BlipTextConfig. */
#include <math.h>
#include <string.h>

#include "fusion/json.h"
#include "text/decoder.h"

enum { MAX_WIDTH = 65536, MAX_VOCAB = 1 << 22, MAX_POSITIONS = 1 << 20 };

typedef struct reader {
    const json_t *config;
    const char *path;
    lks_error *err;
    lks_status status; /* of the first failure */
} reader;

static int read_int(reader *r, const char *key, int fallback, int low, int high)
{
    int value = fallback;
    if (r->status == LKS_OK)
        r->status = lks_json_int(&value, r->config, key, fallback, low, high, r->path, r->err);
    return value;
}

/* A key that has another name in transformers' attribute_map, which wins where a file has both. */
static int read_mapped(reader *r, const char *key, const char *mapped, int fallback, int low, int high)
{
    return read_int(r, mapped, read_int(r, key, fallback, low, high), low, high);
}

static float read_float(reader *r, const char *key, double fallback)
{
    float value = (float)fallback;
    if (r->status == LKS_OK)
        r->status = lks_json_float(&value, r->config, key, fallback, r->path, r->err);
    return value;
}

static bool read_bool(reader *r, const char *key, bool fallback)
{
    bool value = fallback;
    if (r->status == LKS_OK)
        r->status = lks_json_bool(&value, r->config, key, fallback, r->path, r->err);
    return value;
}

static lks_activation read_activation(reader *r, const char *key, const char *fallback)
{
    lks_activation value = LKS_ACT_NONE;
    if (r->status == LKS_OK)
        r->status = lks_json_activation(&value, r->config, key, fallback, r->path, r->err);
    return value;
}

static void parse_gpt2(lks_decoder_config *c, reader *r)
{
    c->vocab_size = read_int(r, "vocab_size", 50257, 1, MAX_VOCAB);
    c->width = read_mapped(r, "n_embd", "hidden_size", 768, 1, MAX_WIDTH);
    c->n_layers = read_mapped(r, "n_layer", "num_hidden_layers", 12, 1, 1024);
    c->n_heads = read_mapped(r, "n_head", "num_attention_heads", 12, 1, 4096);
    c->d_mlp = read_int(r, "n_inner", 4 * c->width, 1, 1 << 20);
    c->n_positions = read_mapped(r, "n_positions", "max_position_embeddings", 1024, 1, MAX_POSITIONS);
    c->eps = read_float(r, "layer_norm_epsilon", 1e-5);
    c->activation = read_activation(r, "activation_function", "gelu_new");
    c->scale_by_layer = read_bool(r, "scale_attn_by_inverse_layer_idx", false);
    c->unscaled = !read_bool(r, "scale_attn_weights", true);
    c->tied = read_bool(r, "tie_word_embeddings", true);
    c->pre_norm = c->final_norm = true;
}

/* BERT, RoBERTa and BLIP's text model differ in position offset, token types and class defaults. */
static void parse_bert(lks_decoder_config *c, reader *r)
{
    bool blip = c->family == LKS_DECODER_BLIP, roberta = c->family == LKS_DECODER_ROBERTA;
    c->vocab_size = read_int(r, "vocab_size", blip ? 30524 : roberta ? 50265 : 30522, 1, MAX_VOCAB);
    c->width = read_int(r, "hidden_size", 768, 1, MAX_WIDTH);
    c->n_layers = read_int(r, "num_hidden_layers", 12, 1, 1024);
    c->n_heads = read_int(r, "num_attention_heads", blip ? 8 : 12, 1, 4096);
    c->d_mlp = read_int(r, "intermediate_size", 3072, 1, 1 << 20);
    c->n_positions = read_int(r, "max_position_embeddings", 512, 1, MAX_POSITIONS);
    c->eps = read_float(r, "layer_norm_eps", 1e-12);
    c->activation = read_activation(r, "hidden_act", "gelu");
    c->tied = read_bool(r, "tie_word_embeddings", true);
    c->embedding_norm = c->head_transform = c->head_bias = true;
    c->token_types = !blip;
    if (roberta) {
        c->padding_id = read_int(r, "pad_token_id", 1, 0, MAX_POSITIONS - 2);
        c->position_offset = c->padding_id + 1;
    }
}

static void parse_trocr(lks_decoder_config *c, reader *r)
{
    c->vocab_size = read_int(r, "vocab_size", 50265, 1, MAX_VOCAB);
    c->width = read_mapped(r, "d_model", "hidden_size", 1024, 1, MAX_WIDTH);
    c->n_layers = read_mapped(r, "decoder_layers", "num_hidden_layers", 12, 1, 1024);
    c->n_heads = read_mapped(r, "decoder_attention_heads", "num_attention_heads", 16, 1, 4096);
    c->d_mlp = read_int(r, "decoder_ffn_dim", 4096, 1, 1 << 20);
    c->n_positions = read_int(r, "max_position_embeddings", 512, 1, MAX_POSITIONS);
    c->eps = 1e-5f;
    c->activation = read_activation(r, "activation_function", "gelu");
    c->tied = read_bool(r, "tie_word_embeddings", true);
    c->embedding_norm = read_bool(r, "layernorm_embedding", true);
    c->embedding_scale = read_bool(r, "scale_embedding", false) ? sqrtf((float)c->width) : 1.0f;
    c->sinusoidal = !read_bool(r, "use_learned_position_embeddings", true);
    c->d_memory = read_int(r, "cross_attention_hidden_size", c->width, 1, MAX_WIDTH);
    if (c->sinusoidal) {
        c->padding_id = read_int(r, "pad_token_id", 1, 0, MAX_POSITIONS - 2);
        c->position_offset = c->padding_id + 1;
    } else {
        c->position_offset = 2;
    }
    c->n_positions += c->position_offset;
}

lks_status lks_decoder_config_parse(lks_decoder_config *out, const json_t *config, const char *model_type,
                                    int encoder_width, const char *path, lks_error *err)
{
    static const struct {
        const char *model_type;
        lks_decoder_family family;
        void (*parse)(lks_decoder_config *, reader *);
    } families[] = {
        {"gpt2", LKS_DECODER_GPT2, parse_gpt2},
        {"bert", LKS_DECODER_BERT, parse_bert},
        {"roberta", LKS_DECODER_ROBERTA, parse_bert},
        {"trocr", LKS_DECODER_TROCR, parse_trocr},
        {"blip_text_model", LKS_DECODER_BLIP, parse_bert},
        {"looksay", LKS_DECODER_LOOKSAY, parse_gpt2},
    };
    size_t f = 0;
    while (f < sizeof families / sizeof *families && strcmp(families[f].model_type, model_type) != 0)
        f++;
    if (f == sizeof families / sizeof *families)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: the decoder '%s' is not known here (gpt2, bert, roberta, trocr and blip are)", path,
                             model_type);
    lks_decoder_config c = {.family = families[f].family, .padding_id = -1, .embedding_scale = 1.0f};
    reader r = {.config = config, .path = path, .err = err};
    families[f].parse(&c, &r);
    const char *places = lks_json_string(config, "position_embedding_type", "absolute");
    if (r.status == LKS_OK && strcmp(places, "absolute") != 0)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: position_embedding_type '%s' is not served, only 'absolute' is", path, places);
    if (r.status != LKS_OK)
        return r.status;
    if (c.family == LKS_DECODER_BLIP) /* BlipConfig overrides text_config.encoder_hidden_size */
        c.d_memory = encoder_width;
    else if (c.d_memory == 0)
        c.d_memory = c.width;
    if (c.width % c.n_heads != 0 || c.n_positions <= c.position_offset)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s: the decoder's width %d does not divide into %d heads, or it has no positions", path,
                             c.width, c.n_heads);
    *out = c;
    return LKS_OK;
}
