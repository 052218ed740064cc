"""The models of the contest in torch: two sizes with random weights, saved as Hugging Face directories, and the default model.

Speed does not depend on what weights say, so that nothing need be downloaded: transformers' own default configurations are
BLIP-base and ViT-GPT2."""
import json
import sys
from pathlib import Path

import torch

SEED = 0
BLIP_VOCAB, GPT2_VOCAB = 30524, 50257
GPT2_END = GPT2_VOCAB - 1


def save_blip(folder):
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    # transformers' own range for the encoder, 1e-10, quantises to zeros: OpenVINO stores, and reads, equal layers once.
    config = BlipConfig(text_config={"vocab_size": BLIP_VOCAB, "encoder_hidden_size": 768},
                        vision_config={"image_size": 384, "initializer_range": 0.02})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(BLIP_VOCAB - 7)), "[DEC]", "[ENC]"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    BlipImageProcessor(size={"height": 384, "width": 384}).save_pretrained(folder)
    BlipForConditionalGeneration(config).save_pretrained(folder)


def save_vit_gpt2(folder):
    from tokenizers import pre_tokenizers
    from transformers import GPT2Config, ViTConfig, ViTImageProcessor, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(), GPT2Config(add_cross_attention=True, is_decoder=True))
    config.decoder_start_token_id = config.eos_token_id = config.pad_token_id = GPT2_END
    model = VisionEncoderDecoderModel(config)
    for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id", "bos_token_id"):
        setattr(model.generation_config, name, GPT2_END)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"<{i}>" for i in range(GPT2_END - len(alphabet))), "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    ViTImageProcessor().save_pretrained(folder)
    model.save_pretrained(folder)


RANDOM = {"blip-base": save_blip, "vit-gpt2": save_vit_gpt2}


def save_random(name, folder):
    """A complete directory, or none."""
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    RANDOM[name](part)
    part.rename(folder)


def conv1d_as_linear(model):
    """GPT-2's layers are linear by another name, under which neither torch nor exporters quantise them."""
    from transformers.pytorch_utils import Conv1D

    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, Conv1D):
                linear = torch.nn.Linear(*layer.weight.shape)
                linear.weight = torch.nn.Parameter(layer.weight.detach().T.contiguous())
                linear.bias = layer.bias
                setattr(module, name, linear)
    return model


class Default(torch.nn.Module):
    """The default model as the recipe has it in torch, with the weights of the GGUF file; `start`: the tokens before a caption."""

    def __init__(self, path):
        super().__init__()
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "train"))
        from gguf_file import read_gguf
        from golden import bare_polyglot, bare_stem, languages_of, tokenizer_of
        from languages import language_token
        from model import END, load_stem

        strings, tensors = read_gguf(path)
        self.net = bare_polyglot(strings, tensors, bare_stem(tensors, load_stem()))
        self.end, self.start = END, [END, tokenizer_of(strings).token_to_id(language_token(languages_of(strings)[0]))]
        self.eval()

    def forward(self, pixels):
        """[photos, 3, 288, 288] -> image tokens [photos, 85, width]."""
        return self.net.memory(self.net.trunk(pixels))


if __name__ == "__main__":
    save_random(sys.argv[1], Path(sys.argv[2]))
