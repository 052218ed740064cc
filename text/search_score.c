/* What a step model thinks of texts that are there already: see search.h. All of them take every step together. */
#include <stdlib.h>
#include <string.h>

#include "text/search_private.h"

lks_status lks_search_score(double *scores, const lks_step_model *model, const lks_search_options *options,
                            const lks_hypothesis *hypotheses, int n, lks_error *err)
{
    int n_prefix = options->n_prompt + 1, longest = 0;
    size_t vocab = (size_t)model->vocab_size, rows = (size_t)n;
    for (int i = 0; i < n; i++) {
        scores[i] = 0.0;
        longest = hypotheses[i].n_tokens > longest ? hypotheses[i].n_tokens : longest;
    }
    float *logits = malloc(rows * vocab * sizeof *logits);
    int32_t *tokens = malloc((rows + (size_t)n_prefix) * sizeof *tokens);
    int32_t *parents = calloc(rows, sizeof *parents); /* the prefix, of which there is one row */
    lks_status st = LKS_OK;
    if (!logits || !tokens || !parents)
        st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory to score %d texts", n);
    if (st == LKS_OK) {
        tokens[0] = options->start_token;
        if (options->n_prompt > 0)
            memcpy(tokens + 1, options->prompt, (size_t)options->n_prompt * sizeof *tokens);
        st = model->step(model->context, logits, tokens, 1, n_prefix, err);
    }
    for (int at = 0; at < longest && st == LKS_OK; at++) {
        if (options->stop && options->stop(options->stop_context))
            st = lks_error_set(err, LKS_ERR_INTERRUPTED, "interrupted");
        for (int i = 0; i < n && st == LKS_OK; i++) {
            const lks_hypothesis *h = &hypotheses[i];
            const float *row = logits + (at > 0 ? (size_t)i * vocab : 0);
            float log_sum_exp;
            if (at >= h->n_tokens) /* it goes along with its last token */
                continue;
            tokens[i] = h->tokens[at];
            st = lks_search_log_sum_exp(&log_sum_exp, row, model->vocab_size, err);
            if (st == LKS_OK)
                scores[i] += (double)(row[tokens[i]] - log_sum_exp);
        }
        if (st == LKS_OK && at == 0)
            model->reorder(model->context, parents, n);
        if (st == LKS_OK && at + 1 < longest)
            st = model->step(model->context, logits, tokens, n, 1, err);
    }
    free(logits);
    free(tokens);
    free(parents);
    return st;
}
