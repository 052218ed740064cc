/* Rows of inputs for the word kernels: see word_rows.h. They are converted and multiplied in chunks: of a size that stays in L3,
 * but never of so few rows that reading the weights again would count. */
#include "fusion/cpu/word_rows.h"

#define CHUNK_BYTES ((size_t)2 << 20)
#define MIN_CHUNK_ROWS 768
#define MAX_CHUNK_ROWS 16384
#define ROW_PADDING 16 /* words */

/* bf16 layers may be widened, and run as f32. */
bool lks_words_fuse(const lks_linear *layer)
{
    return layer->int8.panels && layer->d_in <= LKS_MOST_NORMED;
}

size_t lks_row_words(int d_in, int n_inputs, int n_words)
{
    size_t padded = ((size_t)d_in + LKS_ROW_CHUNK - 1) / LKS_ROW_CHUNK * LKS_ROW_CHUNK;
    size_t words = padded / (size_t)n_inputs * (size_t)n_words;
    return words % 256 == 0 ? words + ROW_PADDING : words;
}

int lks_chunk_rows(size_t row_words)
{
    size_t rows = CHUNK_BYTES / (row_words * sizeof(uint32_t));
    return rows < MIN_CHUNK_ROWS ? MIN_CHUNK_ROWS : rows > MAX_CHUNK_ROWS ? MAX_CHUNK_ROWS : (int)rows;
}

size_t lks_rows_scratch(int max_d)
{
    size_t widest = (lks_row_words(max_d, 1, 1) + ROW_PADDING) * sizeof(uint32_t);
    size_t inputs = MIN_CHUNK_ROWS * widest > CHUNK_BYTES ? MIN_CHUNK_ROWS * widest : CHUNK_BYTES;
    return lks_arena_cost(inputs, 1) + lks_arena_cost(MAX_CHUNK_ROWS, sizeof(lks_int8_row));
}
