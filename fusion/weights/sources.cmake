# Readers and writers of weight files.
target_sources(lks_fusion PRIVATE
    weights/bind.c weights/bind_packed.c weights/check.c weights/convert.c weights/file.c weights/gguf.c weights/gguf_write.c weights/json_text.c weights/pickle.c
    weights/reader.c weights/safetensors.c weights/torch_bin.c weights/weights.c weights/zip.c)
target_link_libraries(lks_fusion PRIVATE PkgConfig::JANSSON)
