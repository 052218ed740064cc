# Readers and writers of weight files.
target_sources(lks_fusion PRIVATE
    weights/check.c weights/file.c weights/gguf.c weights/json_text.c weights/reader.c weights/safetensors.c
    weights/weights.c)
target_link_libraries(lks_fusion PRIVATE PkgConfig::JANSSON)
