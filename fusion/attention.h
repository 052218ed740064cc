/* Attention: one parameter struct for self, cross, causal, bidirectional, grouped-query, prefix and masked-key attention.
 *
 *     out[b, i, h, :] = sum_j p[b, h, i, j] value[kv(b), j, g(h), :]
 *     p[b, h, i, :]   = softmax_j( scale * query[b, i, h, :] . key[kv(b), j, g(h), :] )      over the visible j
 *
 * (Vaswani et al. 2017, "Attention is all you need", section 3.2.1; grouped queries: Ainslie et al. 2023, g(h) =
 * h * n_kv_heads / n_heads; one-pass normalisation over key tiles: Milakov & Gimelshein 2018, Dao et al. 2022.)
 *
 * Key j is visible to query i of batch row b when all of these hold:
 *     j < key_lengths[b]                          (or key_lengths NULL)
 *     key_mask[b * n_keys + j] != 0               (or key_mask NULL)
 *     !causal, or j <= i + causal_offset, or j < n_prefix
 * A query that sees no key yields zeros, log-sum-exp -INFINITY and a map of zeros.
 *
 * kind LKS_ATTENTION_LINEAR replaces the softmax by a kernel feature map (Katharopoulos et al. 2020, eq. 4-7):
 *     phi(x) = elu(x) + 1;  out_i = phi(q_i)^T S / (phi(q_i) . z),  S = sum_j phi(k_j) v_j^T,  z = sum_j phi(k_j)
 * (scale is not used; its map holds the normalised weights phi(q_i).phi(k_j)/..., its log-sum-exp the log of the sum). */
#ifndef LKS_ATTENTION_H
#define LKS_ATTENTION_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum lks_attention_kind { LKS_ATTENTION_SOFTMAX, LKS_ATTENTION_LINEAR } lks_attention_kind;

typedef struct lks_attention {
    lks_attention_kind kind;
    int n_batch, n_heads, n_kv_heads, d_head; /* d_head of key and value alike; n_heads % n_kv_heads == 0 */
    int n_queries, n_keys;
    float scale; /* usually 1 / sqrt(d_head) */

    /* query [n_batch, n_queries, n_heads, d_head]: strides between rows and between batch entries, in floats */
    const float *query;
    int64_t query_row_stride, query_batch_stride;

    /* key, value [kv entries, n_keys, n_kv_heads, d_head] */
    const float *key, *value;
    const uint16_t *key_bf16, *value_bf16;  /* the same in bf16, key and value NULL: half the memory; sums stay f32 */
    int64_t kv_row_stride, kv_batch_stride; /* in elements */
    const int32_t *kv_index; /* [n_batch]: the kv entry that batch row b reads (beams share an image); NULL: b */

    const int32_t *key_lengths; /* [n_batch] or NULL */
    const uint8_t *key_mask;    /* [n_batch, n_keys] or NULL */
    bool causal;
    int causal_offset; /* position of query 0 among the keys: n_keys - n_queries when decoding with a cache */
    int n_prefix;      /* keys 0..n_prefix-1 stay visible under `causal` */

    float *out; /* [n_batch, n_queries, n_heads, d_head] */
    int64_t out_row_stride, out_batch_stride;

    float *log_sum_exp; /* [n_batch, n_heads, n_queries] or NULL */
    float *map;         /* [n_batch, n_heads, n_queries, n_keys] or NULL */
} lks_attention;

/* Shape, scale and strides of self-attention of rows qkv [n_batch, n_tokens, 3 d] that hold queries, keys and values side by side,
 * into [n_batch, n_tokens, d]: of the first n_heads heads of them. Where they lie is left to the caller. */
static inline lks_attention lks_attention_of_qkv(int n_batch, int n_tokens, int n_heads, int d_head, int d)
{
    lks_attention a;
    memset(&a, 0, sizeof a);
    a.n_batch = n_batch;
    a.n_heads = a.n_kv_heads = n_heads;
    a.d_head = d_head;
    a.n_queries = a.n_keys = n_tokens;
    a.scale = 1.0f / sqrtf((float)d_head);
    a.query_row_stride = a.kv_row_stride = 3 * d;
    a.query_batch_stride = a.kv_batch_stride = (int64_t)n_tokens * 3 * d;
    a.out_row_stride = d;
    a.out_batch_stride = (int64_t)n_tokens * d;
    return a;
}

/* Attention in int8, for models whose layers are. Per head, with n queries and keys:
 *
 *     q[i] - mean q ~ s[i] Q[i, c],  k[j] - mean k ~ t[j] K[j, c]      Q, K in -127..127, a scale per row
 *     v[j, c] ~ centre[c] + u[c] V[j, c]                              V in -127..127, centre and scale per column, from its range
 *     score[i, j] = scale (s[i] t[j] sum_c Q[i, c] K[j, c] + mean q . (k[j] - mean k))
 *     P[i, j] = round(65280 exp(score[i, j] - max_j score[i, j]))     two bytes
 *     out[i, c] = centre[c] + u[c] sum_j P[i, j] V[j, c] / sum_j P[i, j]
 *
 * A mean of keys shifts all scores of a query alike, so that the softmax does not see it (Zhang et al. 2024, "SageAttention"); that of
 * queries is not rounded. Sums over c and j are exact. A head that holds NaN or infinity gives NaN.
 *
 * Taken are floats without lengths, masks, causality, maps and log-sum-exp, of more than 8 queries, up to LKS_MOST_INT8_KEYS keys and
 * LKS_MOST_INT8_HEAD numbers. */
enum { LKS_MOST_INT8_HEAD = 128, LKS_MOST_INT8_KEYS = 32768, LKS_INT8_WEIGHT = 65280 };

static inline bool lks_attention_int8_takes(const lks_attention *a)
{
    return a->kind == LKS_ATTENTION_SOFTMAX && a->key && !a->key_lengths && !a->key_mask && !a->causal && !a->map &&
           !a->log_sum_exp && a->n_queries > 8 && a->n_keys > 0 && a->n_keys <= LKS_MOST_INT8_KEYS &&
           a->d_head <= LKS_MOST_INT8_HEAD;
}

#endif
