/* Matrix products by cuBLASLt. It thinks in columns, so that our rows y = x w^T are its  D [m, n] = A [k, m]^T B [k, n]  with
 * A = w, B = x, D = y. f32 is computed in f32 (no TF32), bf16 summed in f32, int8 summed exactly.
 * A bias is of the type of y, as cuBLASLt wants it.
 *
 * A plan is a product's description and the algorithm that cuBLASLt chose for it; it is made when a shape first comes. */
#include <string.h>

#include "fusion/cuda/queue.cuh"

/* What a plan depends on. Compared by its bytes: padding is zero. */
typedef struct plan_key {
    int64_t n, m, k, x_stride, w_stride, y_stride, residual_stride;
    int64_t type, y_type, epilogue, residual;
    int64_t x_alignment, w_alignment, y_alignment, residual_alignment;
} plan_key;

struct lks_product_plan {
    plan_key key;
    bool usable;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t w, x, residual, y;
    cublasLtMatmulAlgo_t algorithm;
};

size_t lks_cuda_plan_bytes(void)
{
    return sizeof(lks_product_plan);
}

static void forget(lks_product_plan *plan)
{
    cublasLtMatrixLayout_t layouts[] = {plan->w, plan->x, plan->residual, plan->y};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i])
            cublasLtMatrixLayoutDestroy(layouts[i]);
    if (plan->product)
        cublasLtMatmulDescDestroy(plan->product);
    memset(plan, 0, sizeof *plan);
}

void lks_cuda_forget_plans(lks_queue *queue)
{
    for (int i = 0; i < queue->n_plans; i++)
        forget(&queue->plans[i]);
    queue->n_plans = 0;
}

/* The largest power of two up to 256 that divides the address. */
static int64_t alignment_of(const void *address)
{
    uintptr_t at = (uintptr_t)address, low = at & (~at + 1);
    return low == 0 || low > 256 ? 256 : (int64_t)low;
}

static bool describe(lks_product_plan *plan)
{
    const plan_key *key = &plan->key;
    bool integers = key->type == CUDA_R_8I;
    cudaDataType_t type = (cudaDataType_t)key->type, sums = integers ? CUDA_R_32I : CUDA_R_32F;
    cudaDataType_t y_type = (cudaDataType_t)key->y_type;
    cublasOperation_t transposed = CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = (cublasLtEpilogue_t)key->epilogue;
    if (cublasLtMatmulDescCreate(&plan->product, integers ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F, sums) ||
        cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) ||
        cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue))
        return false;
    if (epilogue != CUBLASLT_EPILOGUE_DEFAULT &&
        cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &y_type, sizeof y_type))
        return false;
    int64_t residual_stride = key->residual ? key->residual_stride : key->y_stride;
    return !cublasLtMatrixLayoutCreate(&plan->w, type, (uint64_t)key->k, (uint64_t)key->m, key->w_stride) &&
           !cublasLtMatrixLayoutCreate(&plan->x, type, (uint64_t)key->k, (uint64_t)key->n, key->x_stride) &&
           !cublasLtMatrixLayoutCreate(&plan->residual, y_type, (uint64_t)key->m, (uint64_t)key->n, residual_stride) &&
           !cublasLtMatrixLayoutCreate(&plan->y, y_type, (uint64_t)key->m, (uint64_t)key->n, key->y_stride);
}

static bool choose(lks_product_plan *plan, cublasLtHandle_t blas)
{
    const plan_key *key = &plan->key;
    const size_t room = LKS_BLAS_BYTES;
    const uint32_t alignments[] = {(uint32_t)key->w_alignment, (uint32_t)key->x_alignment,
                                   (uint32_t)key->residual_alignment, (uint32_t)key->y_alignment};
    const cublasLtMatmulPreferenceAttributes_t names[] = {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                                          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                                          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                                          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulPreference_t preference;
    if (cublasLtMatmulPreferenceCreate(&preference))
        return false;
    bool well =
        !cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room);
    for (int i = 0; i < 4 && well; i++)
        well = !cublasLtMatmulPreferenceSetAttribute(preference, names[i], &alignments[i], sizeof alignments[i]);
    cublasLtMatmulHeuristicResult_t best;
    int n_found = 0;
    well = well && !cublasLtMatmulAlgoGetHeuristic(blas, plan->product, plan->w, plan->x, plan->residual, plan->y,
                                                   preference, 1, &best, &n_found);
    cublasLtMatmulPreferenceDestroy(preference);
    plan->algorithm = best.algo;
    return well && n_found > 0;
}

/* A plan that cannot be had is remembered as such. */
static const lks_product_plan *find(lks_queue *queue, const plan_key *key)
{
    for (int i = 0; i < queue->n_plans; i++)
        if (memcmp(&queue->plans[i].key, key, sizeof *key) == 0)
            return &queue->plans[i];
    if (queue->n_plans == LKS_MAX_PLANS)
        lks_cuda_forget_plans(queue); /* shapes that vary without end */
    lks_product_plan *plan = &queue->plans[queue->n_plans++];
    memset(plan, 0, sizeof *plan);
    plan->key = *key;
    plan->usable = describe(plan) && choose(plan, queue->blas);
    return plan;
}

/* What cuBLASLt may do behind the sums. Its GELU is the one with tanh; a residual comes before its activations, ours behind. */
static bool epilogue_of(cublasLtEpilogue_t *epilogue, const lks_product *p)
{
    bool activated = p->activation != LKS_ACT_NONE;
    if (p->type == CUDA_R_8I || (activated && p->residual))
        return false;
    switch (p->activation) {
    case LKS_ACT_NONE:
        *epilogue = p->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
        return true;
    case LKS_ACT_RELU:
        *epilogue = p->bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
        return true;
    case LKS_ACT_GELU_TANH:
        *epilogue = p->bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
        return true;
    default:
        return false;
    }
}

static plan_key key_of(const lks_product *p)
{
    plan_key key;
    memset(&key, 0, sizeof key);
    key.n = p->n;
    key.m = p->m;
    key.k = p->k;
    key.x_stride = p->x_stride;
    key.w_stride = p->w_stride;
    key.y_stride = p->y_stride;
    key.type = p->type;
    key.y_type = p->y_type;
    key.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    key.x_alignment = alignment_of(p->x);
    key.w_alignment = alignment_of(p->w);
    key.y_alignment = key.residual_alignment = alignment_of(p->y);
    return key;
}

static void run(lks_queue *queue, const lks_product_plan *plan, const lks_product *p)
{
    const float one = 1.0f, zero = 0.0f;
    const int32_t one_whole = 1, zero_whole = 0;
    bool integers = p->type == CUDA_R_8I, residual = plan->key.residual != 0;
    const void *alpha = integers ? (const void *)&one_whole : &one;
    const void *beta = integers ? (const void *)&zero_whole : residual ? &one : &zero;
    const void *added = residual ? (const void *)p->residual : p->y;
    if (cublasLtMatmul(queue->blas, plan->product, alpha, p->w, plan->w, p->x, plan->x, beta, added, plan->residual,
                       p->y, plan->y, &plan->algorithm, queue->blas_room, LKS_BLAS_BYTES, queue->stream))
        lks_queue_note_text(queue, "cuBLASLt failed in a linear layer");
}

bool lks_cuda_product(const lks_compute *compute, const lks_product *p)
{
    plan_key key = key_of(p);
    cublasLtEpilogue_t epilogue;
    if (!epilogue_of(&epilogue, p))
        return false;
    key.epilogue = epilogue;
    if (p->residual) {
        key.residual = 1;
        key.residual_stride = p->residual_stride;
        key.residual_alignment = alignment_of(p->residual);
    }
    const lks_product_plan *plan = find(compute->queue, &key);
    if (!plan->usable || (p->bias && cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                                    &p->bias, sizeof p->bias)))
        return false;
    run(compute->queue, plan, p);
    return true;
}

void lks_cuda_sums(const lks_compute *compute, const lks_product *p)
{
    plan_key key = key_of(p);
    const lks_product_plan *plan = find(compute->queue, &key);
    if (plan->usable)
        run(compute->queue, plan, p);
    else
        lks_queue_note_text(compute->queue, "cuBLASLt has no algorithm for a linear layer");
}
