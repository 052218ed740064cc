"""The committed models: what each one is there to prove."""

VIT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48, "image_size": 32,
       "patch_size": 8}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 48, "n_inner": 60, "bos_token_id": 316,
        "eos_token_id": 316}
BERT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 52,
        "max_position_embeddings": 40}
ROBERTA = {**BERT, "max_position_embeddings": 42, "layer_norm_eps": 1e-5, "type_vocab_size": 1}
TROCR = {"d_model": 24, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 56,
         "max_position_embeddings": 40}
BLIP_VISION = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40,
               "image_size": 48, "patch_size": 16}
BLIP_TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
             "max_position_embeddings": 36, "bos_token_id": 105}

HALF = [0.5, 0.5, 0.5]
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}


def square(n, cls="ViTImageProcessor", resample=2, **more):
    return {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": HALF, "image_std": HALF,
            "image_processor_type": cls, "resample": resample, "rescale_factor": 0.00392156862745098,
            "size": {"height": n, "width": n}, **more}


GREEDY = {"max_tokens": 20}
BEAMS = {"max_tokens": 20, "beams": 3}
ALL = ["wide.jpg", "tall.png", "grey.png", "grey.jpg", "alpha.png", "palette.png", "turned.jpg", "large.jpg", "tiny.png"]
SOME = ["wide.jpg", "tall.png", "alpha.png", "turned.jpg"]


def plain(photos=SOME):
    """Greedy on all photos, three beams on two."""
    return [(p, GREEDY) for p in photos] + [(p, BEAMS) for p in photos[:2]]


MODELS = {
    # The family's best-known member as published: GPT-2 files without tokenizer.json, zip + pickle with mask buffers, tied
    # matrices twice in one storage, no generation_config.json, the old feature-extractor keys with an integer size.
    "vit-gpt2-bin": ({
        "kind": "ved", "seed": 1, "end": 316, "encoder": ("vit", VIT), "decoder": ("gpt2", GPT2), "tokenizer": "gpt2",
        "config": {"decoder_start_token_id": 316, "bos_token_id": 316, "eos_token_id": 316, "pad_token_id": 316},
        "store": {"format": "bin", "strided": True}, "generation_config": None,
        "add_config": [("decoder", "max_length", 11), ("decoder", "no_repeat_ngram_size", 2)],  # they count: no other file
        "processor": {"do_normalize": True, "do_resize": True, "feature_extractor_type": "ViTFeatureExtractor",
                      "image_mean": HALF, "image_std": HALF, "resample": 2, "size": 32},
    }, plain(ALL) + [
        ("wide.jpg", {"max_tokens": 12, "beams": 4, "n_best": 3}),
        ("wide.jpg", {"max_tokens": 20, "beams": 3, "length_penalty": 0.2}),
        ("wide.jpg", {"max_tokens": 20, "beams": 3, "length_penalty": 2.0}),
        ("tall.png", {"max_tokens": 20, "no_repeat_ngram": 2}),
        ("tall.png", {"max_tokens": 20, "beams": 2, "no_repeat_ngram": 2}),
        ("tall.png", {"max_tokens": 20, "repetition_penalty": 1.7}),
        ("grey.png", {"max_tokens": 20, "min_tokens": 14}),
        ("grey.png", {"max_tokens": 20, "beams": 3, "min_tokens": 14}),
        ("palette.png", {"max_tokens": 1}),
        ("tall.png", {}),
        ("palette.png", {"max_tokens": 16, "prompt": "a dog"}),
        ("palette.png", {"max_tokens": 16, "prompt": "a dog", "beams": 3, "repetition_penalty": 1.3}),
    ]),

    # A BERT decoder (vocab.txt alone, class and distillation tokens, resize then crop); the vocabulary matrix has its own
    # weights and bias, so that cls.predictions.bias counts for nothing. bf16 in the file.
    "deit-bert-untied": ({
        "kind": "ved", "seed": 2, "end": 102, "pull": 2.2,
        "encoder": ("deit", {**VIT, "hidden_size": 32, "num_attention_heads": 2, "hidden_act": "gelu_new"}),
        "decoder": ("bert", {**BERT, "hidden_size": 32, "num_attention_heads": 4, "tie_word_embeddings": False,
                             "pad_token_id": 0}),
        "tokenizer": "bert_txt", "config": {"decoder_start_token_id": 101, "eos_token_id": 102, "pad_token_id": 0},
        "store": {"dtype": "bf16"}, "generation_config": {},
        "processor": {"do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, **IMAGENET,
                      "image_processor_type": "DeiTImageProcessor", "size": 40, "crop_size": 32},
    }, plain() + [
        ("large.jpg", {"max_tokens": 20, "min_tokens": 8, "no_repeat_ngram": 3}),
        ("grey.jpg", {"max_tokens": 10, "prompt": "a dog"}),
    ]),

    # A tied BERT decoder in a .bin with position buffers, tied matrices twice, some tensors stored as Parameters; file
    # dtypes mixed; generation parameters from generation_config.json, used by the cases without flags.
    "vit-bert-bin": ({
        "kind": "ved", "seed": 3, "end": 102, "pull": 2.2, "encoder": ("vit", {**VIT, "qkv_bias": False, "hidden_act": "relu"}),
        "decoder": ("bert", {**BERT, "pad_token_id": 0, "hidden_act": "relu"}), "tokenizer": "bert_json",
        "config": {"decoder_start_token_id": 101, "eos_token_id": 102, "pad_token_id": 0},
        "store": {"format": "bin", "parameters": True, "half_in_bin": True},
        "add_config": [("decoder", "repetition_penalty", 2.5)],  # it does not count beside generation_config.json
        "generation_config": {"num_beams": 2, "max_length": 14, "no_repeat_ngram_size": 2, "length_penalty": 0.5,
                              "early_stopping": True, "forced_bos_token_id": 17, "eos_token_id": [102, 63], "min_length": 6,
                              "bad_words_ids": [[40], [102], [21, 30]], "begin_suppress_tokens": [55, 60, 71]},
        "processor": square(32, resample=0),
    }, [(p, {"max_tokens": 20, "beams": 1}) for p in SOME] + [(p, {}) for p in SOME]
       + [("grey.png", {"prompt": "a dog"}), ("grey.png", {"max_tokens": 9}), ("grey.png", {"max_tokens": 20, "beams": 4, "n_best": 4})]),

    # RoBERTa's positions start at padding_idx + 1 (and a generated padding token has padding_idx); DINOv2's layer scale, and
    # its position table resampled from 4 x 4 to 6 x 4 patches; tokenizer.json; safetensors in shards.
    "dinov2-roberta-sharded": ({
        "kind": "ved", "seed": 4, "end": 2, "pull": 1.5,
        "encoder": ("dinov2", {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2,
                               "image_size": 28, "patch_size": 7, "layerscale_value": 0.5}),
        "decoder": ("roberta", ROBERTA), "tokenizer": "roberta",
        "config": {"decoder_start_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
        "store": {"shard_size": "60KB"}, "generation_config": {},
        "processor": {"do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True,
                      "do_resize": True, "image_processor_type": "BitImageProcessor", "resample": 3, **IMAGENET,
                      "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 44},
                      "crop_size": {"height": 42, "width": 28}},
    }, plain(ALL) + [("tall.png", {"max_tokens": 10, "beams": 3, "prompt": "two dogs on the"})]),

    # DINOv2 giant's gated MLP; decoder width differs, so that enc_to_dec_proj joins them; sparse config; f16 in the file;
    # more rows in the vocabulary matrix than the tokenizer has words; keys under their general names.
    "dinov2-swiglu-gpt2": ({
        "kind": "ved", "seed": 5, "end": 316,
        "encoder": ("dinov2", {"hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": 12, "mlp_ratio": 2,
                               "image_size": 28, "patch_size": 14, "use_swiglu_ffn": True}),
        "decoder": ("gpt2", {**GPT2, "n_inner": None, "n_head": 3, "activation_function": "gelu_new"}),
        "tokenizer": "gpt2", "extra_rows": 4,
        "config": {"decoder_start_token_id": 316, "eos_token_id": 316, "pad_token_id": 316},
        "store": {"dtype": "f16"}, "sparse": True, "generation_config": None,
        "rename_config": [("decoder", "n_embd", "hidden_size"), ("decoder", "n_layer", "num_hidden_layers")],
        "processor": square(28, cls="BitImageProcessor", resample=3, do_center_crop=False, do_convert_rgb=True),
    }, plain() + [("tiny.png", {"max_tokens": 20, "beams": 4, "n_best": 2})]),

    # Pictures that keep their aspect: the shorter side has 30 pixels, the longer at most 44, so that every photo has a grid of its
    # own, 4 x 4 to 4 x 6 patches of 7 pixels and a rest, and a position table resampled to it.
    "dinov2-gpt2-aspect": ({
        "kind": "ved", "seed": 12, "end": 316,
        "encoder": ("dinov2", {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "mlp_ratio": 2,
                               "image_size": 28, "patch_size": 7, "layerscale_value": 0.5}),
        "decoder": ("gpt2", {**GPT2, "n_inner": 48}), "tokenizer": "gpt2",
        "config": {"decoder_start_token_id": 316, "eos_token_id": 316, "pad_token_id": 316},
        "store": {"dtype": "f16"}, "generation_config": None,
        "processor": {"do_center_crop": False, "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
                      "image_processor_type": "BitImageProcessor", **IMAGENET, "size": {"shortest_edge": 30, "longest_edge": 44}},
    }, plain(["wide.jpg", "tall.png", "grey.png", "turned.jpg", "large.jpg", "tiny.png"])
       + [("tall.png", {"max_tokens": 12, "beams": 4, "n_best": 3}), ("turned.jpg", {"max_tokens": 10, "prompt": "a dog"})]),

    # The same of a ViT, which transformers serves with interpolate_pos_encoding; one photo has the table's own grid.
    "vit-gpt2-aspect": ({
        "kind": "ved", "seed": 13, "end": 316, "encoder": ("vit", VIT), "decoder": ("gpt2", {**GPT2, "n_inner": 48}),
        "tokenizer": "gpt2", "config": {"decoder_start_token_id": 316, "eos_token_id": 316, "pad_token_id": 316},
        "store": {"dtype": "f16"}, "generation_config": None,
        "processor": {**square(0, resample=2), "size": {"shortest_edge": 32}},
    }, plain(["wide.jpg", "tall.png", "palette.png", "turned.jpg"])),

    # TrOCR base's decoder: learned positions from 2, scaled embeddings, layer norm on them, GELU, cross-attention straight
    # to the encoder's width; start token from the decoder's config; no generation_config.json.
    "vit-trocr": ({
        "kind": "ved", "seed": 6, "end": 2, "encoder": ("vit", {**VIT, "hidden_size": 20, "num_attention_heads": 2}),
        "decoder": ("trocr", {**TROCR, "scale_embedding": True, "cross_attention_hidden_size": 20}),
        "tokenizer": "roberta", "config": {}, "store": {}, "generation_config": None,
        "processor": square(32, cls="ViTImageProcessor", do_convert_rgb=None),
    }, plain() + [("palette.png", {"max_tokens": 20, "beams": 2, "repetition_penalty": 1.5})]),

    # TrOCR small's decoder: sinusoidal positions, ReLU, no layer norm on the embeddings, untied output projection,
    # enc_to_dec_proj, SentencePiece model without tokenizer.json, a processor_config.json as version 5 writes.
    "deit-trocr-sinusoid": ({
        "kind": "ved", "seed": 7, "end": 2, "encoder": ("deit", {**VIT, "hidden_size": 16, "num_attention_heads": 4}),
        "decoder": ("trocr", {**TROCR, "use_learned_position_embeddings": False, "layernorm_embedding": False,
                              "scale_embedding": True, "activation_function": "relu", "tie_word_embeddings": False}),
        "tokenizer": "spm", "config": {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}, "store": {},
        "generation_config": {}, "processor_file": "processor_config.json",
        "processor": {"image_processor": square(32, cls="DeiTImageProcessor", resample=3, do_center_crop=False,
                                                data_format="channels_first"),
                      "processor_class": "TrOCRProcessor"},
    }, plain()),

    # Unigram tokenizer.json, an image that is not square, patches that are not either, one attention head.
    "vit-trocr-oblong": ({
        "kind": "ved", "seed": 8, "end": 2,
        "encoder": ("vit", {**VIT, "image_size": [24, 40], "patch_size": [8, 10], "num_attention_heads": 1}),
        "decoder": ("trocr", {**TROCR, "d_model": 28, "layernorm_embedding": False}), "tokenizer": "unigram",
        "config": {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "forced_eos_token_id": 2},
        "store": {"twice": True}, "generation_config": {"forced_eos_token_id": 2},
        "processor": {**square(0, resample=1), "size": {"height": 24, "width": 40}, "do_rescale": True},
    }, plain()),

    # BLIP as version 5 writes it: config in full, tied (no decoder matrix in the file), generation_config.json whose end
    # token (2) is not the one that counts (text_config's sep_token_id, 102).
    "blip-full": ({
        "kind": "blip", "seed": 9, "pull": 1.5, "text": BLIP_TEXT, "vision": BLIP_VISION, "tokenizer": "bert_json", "extra_rows": 2,
        "store": {}, "generation_config": {},
        "add_config": [("text_config", "max_length", 9), ("text_config", "num_beams", 2)],  # they never count
        "processor": square(48, cls="BlipImageProcessor", resample=3, do_convert_rgb=True, **CLIP),
    }, plain(ALL) + [
        ("large.jpg", {"max_tokens": 16, "prompt": "a picture of"}),
        ("large.jpg", {}),
        ("wide.jpg", {"max_tokens": 16, "prompt": "a picture of", "beams": 3}),
        ("wide.jpg", {"max_tokens": 20, "beams": 3, "min_tokens": 5, "repetition_penalty": 1.1}),
        ("tall.png", {"max_tokens": 20, "beams": 5, "n_best": 5}),
        ("grey.jpg", {"max_tokens": 20, "no_repeat_ngram": 2}),
        ("grey.jpg", {"max_tokens": 20, "beams": 2, "length_penalty": -1.0}),
    ]),

    # BLIP with the sparse config of fine-tunes: heads (8 and 12), positions (512), layer-norm epsilons, patch size and end
    # token are the classes' defaults; f16; the tied matrix in the file twice.
    "blip-sparse": ({
        "kind": "blip", "seed": 10, "pull": 1.5,
        "text": {"hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 48, "bos_token_id": 105},
        "vision": {"hidden_size": 36, "num_hidden_layers": 2, "intermediate_size": 40, "image_size": 48},
        "tokenizer": "bert_txt", "extra_rows": 2, "sparse": True, "store": {"dtype": "f16", "twice": True},
        "generation_config": None, "processor": square(48, cls="BlipImageProcessor", resample=3, **CLIP),
    }, plain() + [("palette.png", {"max_tokens": 12, "prompt": "A picture of"})]),

    # BLIP in a .bin with position buffers and duplicates; the end token is another one than 102.
    "blip-bin": ({
        "kind": "blip", "seed": 11, "pull": 1.5, "text": {**BLIP_TEXT, "sep_token_id": 7, "num_attention_heads": 2},
        "vision": {**BLIP_VISION, "layer_norm_eps": 1e-6}, "tokenizer": "bert_json", "extra_rows": 2,
        "store": {"format": "bin"}, "generation_config": None,
        "processor": {"do_normalize": True, "do_resize": True, "image_processor_type": "BlipImageProcessor", "size": 48},
    }, plain()),
}
