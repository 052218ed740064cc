/* What feature_cache.h offers where there is no SQLite. */
#include "apps/common/complain.h"
#include "apps/common/feature_cache.h"

bool feature_cache_is_built(void)
{
    return false;
}

bool feature_cache_open(feature_cache **out, const char *path, uint64_t max_bytes, const char *model_path,
                        const lks_model *model, bool lenient)
{
    (void)out, (void)max_bytes, (void)model_path, (void)model, (void)lenient;
    complain("%s: this program was built without SQLite, which keeps features", path);
    return false;
}

void feature_cache_close(feature_cache *cache)
{
    (void)cache;
}

lks_features *feature_cache_get(feature_cache *cache, content_id photo)
{
    (void)cache, (void)photo;
    return NULL;
}

void feature_cache_put(feature_cache *cache, content_id photo, const lks_features *features)
{
    (void)cache, (void)photo, (void)features;
}
