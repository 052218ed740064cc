"""Small random captioning models, written as the Hugging Face directories that transformers and its older versions write.

A model is described by a plain dict (a "spec"); build(spec, folder) writes config, weights, tokenizer and preprocessing
files. Weights are large enough, and normalisations perturbed enough, that every tensor matters to the caption.
"""
import json
import shutil
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (AutoConfig, BlipConfig, BlipForConditionalGeneration, BlipTextConfig, BlipVisionConfig,
                          VisionEncoderDecoderConfig, VisionEncoderDecoderModel)

import vocabularies

LAST_NORM = {  # the normalisation whose output the decoder's vocabulary matrix reads
    "gpt2": "decoder.transformer.ln_f",
    "bert": "decoder.cls.predictions.transform.LayerNorm",
    "roberta": "decoder.lm_head.layer_norm",
    "trocr": "decoder.model.decoder.layers.{last}.final_layer_norm",
    "blip": "text_decoder.cls.predictions.transform.LayerNorm",
}

BALANCE = {"gpt2": {}, "bert": {"gain": 1.2, "words": 1.0, "places": 2.5, "cross": 0.8},
           "roberta": {"gain": 1.0, "words": 0.35, "places": 1.2, "cross": 0.6},
           "blip": {"gain": 1.0, "words": 0.35, "places": 1.2, "cross": 0.6},
           "trocr": {"words": 0.4, "places": 2.5, "cross": 0.4}}


def randomise(model, generator, gain=1.8, words=0.5, places=0.5, cross=1.6):
    """Overwrites every parameter: matrices ~ N(0, gain^2 / fan-in), normalisations around 1, no zero biases. The sizes of
    word and position embeddings and of cross-attention balance what a caption follows: itself, its length, the photo."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        is_norm = any(part in name.lower() for part in ("layernorm", "layer_norm", "ln_", ".norm"))
        if "lambda1" in name:
            p.data = 0.5 + 0.3 * noise
        elif is_norm and name.endswith("weight"):
            p.data = 1 + 0.25 * noise
        elif p.ndim == 1:
            p.data = 0.25 * noise
        elif "embed" in name.lower() or "wte" in name or "wpe" in name or "token" in name:
            if p.ndim == 4:  # the patch projection
                p.data = noise / (p[0].numel() ** 0.5) * 2
            else:
                is_word = "word" in name or "wte" in name or "embed_tokens" in name
                p.data = (words if is_word else places if "decoder" in name else 0.5) * noise
        else:
            conv1d = any(f".{part}.weight" in name for part in ("c_attn", "c_proj", "c_fc", "q_attn"))
            fan_in = p.shape[0] if conv1d else p.shape[1]
            is_cross = any(part in name.lower() for part in ("crossattention", "encoder_attn", "enc_to_dec"))
            p.data = noise * (gain * (cross if is_cross else 1) / fan_in ** 0.5)


def pull_to_end(model, kind, n_layers, end, strength, generator):
    """Makes the end token likelier by a constant: its row points along the last normalisation's bias. Signs in that
    normalisation's weight keep a tied vocabulary matrix from answering every token with itself."""
    norm = model.get_submodule(LAST_NORM[kind].format(last=n_layers - 1))
    norm.weight.data *= torch.randint(0, 2, norm.weight.shape, generator=generator) * 2 - 1
    bias = norm.bias
    head = (model.text_decoder if kind == "blip" else model).get_output_embeddings()
    head.weight.data[end] = 0.3 * head.weight.data[end] + strength * bias / bias.norm()


def make_model(spec, n_vocab):
    """The torch model of a spec, weights drawn from spec["seed"]."""
    torch.manual_seed(spec["seed"])
    if spec["kind"] == "blip":
        text = dict(spec["text"], vocab_size=n_vocab)
        config = BlipConfig(text_config=text, vision_config=dict(spec["vision"]), **spec.get("config", {}))
        model = BlipForConditionalGeneration(config)
        kind, n_layers, end = "blip", 0, config.text_config.sep_token_id
    else:
        encoder = AutoConfig.for_model(spec["encoder"][0], **spec["encoder"][1])
        kind = spec["decoder"][0]
        decoder = AutoConfig.for_model(kind, **{"vocab_size": n_vocab, "is_decoder": True, "add_cross_attention": True,
                                                **spec["decoder"][1]})
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, **spec.get("config", {}))
        model = VisionEncoderDecoderModel(config)
        n_layers, end = decoder.num_hidden_layers, spec["end"]
    model.eval()
    generator = torch.Generator().manual_seed(spec["seed"])
    randomise(model, generator, **BALANCE[kind] | {k: spec[k] for k in ("gain", "words", "places", "cross") if k in spec})
    pull_to_end(model, kind, n_layers, end, spec.get("pull", 1.0), generator)
    return model


def older_names(model, state, spec):
    """Adds what older files carry beyond the weights: causal-mask and position buffers, tied matrices twice."""
    extra = OrderedDict()
    if spec["kind"] == "blip":
        n = model.config.text_config.max_position_embeddings
        extra["text_decoder.bert.embeddings.position_ids"] = torch.arange(n).expand(1, -1)
    elif spec["decoder"][0] == "gpt2":
        n = model.config.decoder.n_positions
        for i in range(model.config.decoder.n_layer):
            for block in ("attn", "crossattention"):
                mask = torch.tril(torch.ones(n, n, dtype=torch.uint8)).view(1, 1, n, n)
                extra[f"decoder.transformer.h.{i}.{block}.bias"] = mask.bool() if i % 2 else mask
                extra[f"decoder.transformer.h.{i}.{block}.masked_bias"] = torch.tensor(-1e4)
    elif spec["decoder"][0] in ("bert", "roberta"):
        n = model.config.decoder.max_position_embeddings
        extra[f"decoder.{spec['decoder'][0]}.embeddings.position_ids"] = torch.arange(n).expand(1, -1)
    state.update(extra)


def write_bin(model, folder, spec):
    """pytorch_model.bin as torch.save(model.state_dict()) of an older version wrote it: published names, tied matrices
    under both names but in one storage, buffers, and the dict's _metadata attribute."""
    from safetensors.torch import load_file
    state = OrderedDict(load_file(folder / "model.safetensors"))  # save_pretrained has restored the published names
    for name, p in model.state_dict().items():  # tied names share a storage in the .bin
        if name not in state and ("lm_head" in name or "cls.predictions.decoder" in name or "output_projection" in name):
            source = next(k for k, v in state.items() if v.shape == p.shape and torch.equal(v, p))
            state[name] = state[source]
    older_names(model, state, spec)
    if spec["store"].get("strided"):  # transposed views keep their strides in the file
        for name in [n for n, v in state.items() if v.ndim == 2][::3]:
            state[name] = state[name].t().contiguous().t()
    if spec["store"].get("parameters"):
        for name in [n for n, v in state.items() if v.is_floating_point()][::4]:
            state[name] = torch.nn.Parameter(state[name], requires_grad=False)
    state._metadata = OrderedDict({"": {"version": 1}})
    if spec["store"].get("half_in_bin"):
        for name in [n for n, v in state.items() if v.is_floating_point()]:
            state[name] = state[name].to(torch.bfloat16 if len(name) % 2 else torch.float16)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def write_weights(model, folder, spec):
    store = spec["store"]
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[store.get("dtype", "f32")]
    model = model.to(dtype)
    options = {"max_shard_size": store["shard_size"]} if "shard_size" in store else {}
    model.save_pretrained(folder, **options)
    if store.get("format") == "bin":
        write_bin(model, folder, spec)
    elif store.get("twice"):  # tied matrices under both names, as files that were converted from .bin have them
        from safetensors.torch import load_file
        state = load_file(folder / "model.safetensors")
        for name, p in model.state_dict().items():
            if "cls.predictions.decoder" in name or "lm_head" in name or "output_projection" in name:
                state.setdefault(name, p.clone())
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    for file in folder.iterdir():
        file.chmod(0o644)


def without_defaults(given, defaults, keep=()):
    return {k: v for k, v in given.items() if k in keep or k not in defaults or defaults[k] != v}


def thin_config(folder, spec):
    """Sparse config.json: every key whose value is the class default is gone."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if spec["kind"] == "blip":
        for key, cls in (("text_config", BlipTextConfig), ("vision_config", BlipVisionConfig)):
            config[key] = without_defaults(config[key], cls().to_dict())
            config[key].pop("encoder_hidden_size", None)
        config = {k: config[k] for k in ("architectures", "model_type", "text_config", "vision_config")}
    else:
        for key in ("encoder", "decoder"):
            defaults = AutoConfig.for_model(config[key]["model_type"]).to_dict()
            config[key] = without_defaults(config[key], defaults, keep=("model_type",))
        config.pop("transformers_version", None)
        config.pop("dtype", None)
    path.write_text(json.dumps(config, indent=2) + "\n")


def build(spec, folder):
    """Writes the model directory of a spec."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    n_words = vocabularies.write(spec["tokenizer"], folder)
    model = make_model(spec, n_words + spec.get("extra_rows", 0))
    write_weights(model, folder, spec)
    if spec.get("sparse"):
        thin_config(folder, spec)
    for section, key in spec.get("drop_config", ()):  # keys that other versions do not write
        config = json.loads((folder / "config.json").read_text())
        (config[section] if section else config).pop(key, None)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for section, key, value in spec.get("add_config", ()):  # older versions write every default of generation there
        config = json.loads((folder / "config.json").read_text())
        config[section][key] = value
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for section, key, name in spec.get("rename_config", ()):  # names that transformers maps to its own
        config = json.loads((folder / "config.json").read_text())
        config[section][name] = config[section].pop(key)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = folder / "generation_config.json"
    if spec.get("generation_config") is None:
        generation.unlink(missing_ok=True)
    elif spec["generation_config"]:
        kept = json.loads(generation.read_text())
        kept.update(spec["generation_config"])
        generation.write_text(json.dumps(kept, indent=2) + "\n")
    name = spec.get("processor_file", "preprocessor_config.json")
    (folder / name).write_text(json.dumps(spec["processor"], indent=2) + "\n")
