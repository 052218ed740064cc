"""Makes what engines without Python run: a model as three ONNX graphs, and their int8 forms.

    python graphs.py MODEL_DIR|MODEL.gguf FOLDER PHOTO...

    encoder  pixels [1, 3, h, w] -> image tokens [1, tokens, width]
    image    image tokens -> keys and values of every decoder layer, once a photo
    step     decoders.py

int8: ONNX Runtime's dynamic quantisation of all three, its static quantisation of the encoder, calibrated on the photos, and NNCF's
post-training quantisation of the encoder with int8 weights in the decoder for OpenVINO. FOLDER/model.json says how to caption."""
import argparse
import json
from pathlib import Path

import torch

from decoders import BlipDecoder, DefaultDecoder, Gpt2Decoder
from models import Default, conv1d_as_linear
from photos import Pixels

OPSET = 18
GRAPHS = "encoder", "image", "step"


class Tokens(torch.nn.Module):
    """An encoder that returns nothing but its tokens."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels):
        return self.encoder(pixel_values=pixels).last_hidden_state


class ImageKeys(torch.nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, memory):
        return self.decoder.image_keys(memory)


def load(model):
    """(encoder, decoder, start, end) of a directory or of the default model's file."""
    if model.suffix == ".gguf":
        net = Default(model)
        return net, DefaultDecoder(net), net.start, net.end
    from transformers import AutoConfig, BlipForConditionalGeneration, VisionEncoderDecoderModel

    if AutoConfig.from_pretrained(model).model_type == "blip":
        net = BlipForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
        text = net.config.text_config
        return Tokens(net.vision_model), BlipDecoder(net), [text.bos_token_id], text.sep_token_id
    net = conv1d_as_linear(VisionEncoderDecoderModel.from_pretrained(model, dtype=torch.float32).eval())
    generation = net.generation_config
    return Tokens(net.encoder), Gpt2Decoder(net), [generation.decoder_start_token_id], generation.eos_token_id


def export(model, folder, pixels):
    encoder, decoder, start, end = load(model)
    n = 2 * len(decoder.layers)
    memory = encoder(pixels)
    image = ImageKeys(decoder)
    keys = image(memory)
    past = [key[:, :, :3].repeat(2, 1, 1, 1) for key in keys]
    names = {kind: [f"{kind}_{i}" for i in range(n)] for kind in ("image", "past", "grown")}
    free = {name: {0: "beams", 2: "time"} for name in names["past"] + names["grown"]}

    def write(name, module, args, inputs, outputs, axes=None):
        torch.onnx.export(module.eval(), args, folder / f"{name}.onnx", input_names=inputs, output_names=outputs,
                          dynamic_axes=axes, opset_version=OPSET, dynamo=False)

    write("encoder", encoder, (pixels,), ["pixels"], ["memory"])
    write("image", image, (memory,), ["memory"], names["image"])
    write("step", decoder, (torch.zeros(2, 1, dtype=torch.long), torch.tensor([3]), *past, *keys),
          ["ids", "position", *names["past"], *names["image"]], ["logits", *names["grown"]],
          {"ids": {0: "beams"}, "logits": {0: "beams"}, **free})
    heads, d = keys[0].shape[1], keys[0].shape[3]
    return {"start": start, "end": end, "caches": n, "heads": heads, "d": d}


def quantize_onnx(folder, photos):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Photos(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(photos)

        def get_next(self):
            pixels = next(self.rest, None)
            return None if pixels is None else {"pixels": pixels}

    prepared = {}
    for name in GRAPHS:
        prepared[name] = folder / f"{name}.prepared.onnx"
        quant_pre_process(folder / f"{name}.onnx", prepared[name], skip_symbolic_shape=True)
        quantize_dynamic(prepared[name], folder / f"{name}.int8-dynamic.onnx", weight_type=QuantType.QInt8, per_channel=True,
                         op_types_to_quantize=["MatMul", "Gemm"])
    quantize_static(prepared["encoder"], folder / "encoder.int8-static.onnx", Photos(), quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True,
                    op_types_to_quantize=["MatMul", "Gemm", "Conv"])
    for path in prepared.values():
        path.unlink()


def quantize_openvino(folder, photos):
    import nncf
    import openvino

    graphs = {name: openvino.convert_model(folder / f"{name}.onnx") for name in GRAPHS}
    graphs["encoder"] = nncf.quantize(graphs["encoder"], nncf.Dataset(photos), model_type=nncf.ModelType.TRANSFORMER,
                                      subset_size=len(photos))
    for name in ("image", "step"):
        graphs[name] = nncf.compress_weights(graphs[name], mode=nncf.CompressWeightsMode.INT8_ASYM)
    for name, graph in graphs.items():
        openvino.save_model(graph, folder / f"{name}.int8.xml", compress_to_fp16=False)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photos", nargs="+", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    prepare = Pixels(given.model)
    photos = [prepare(photo) for photo in given.photos]
    how = export(given.model, given.folder, torch.from_numpy(photos[0]))
    quantize_onnx(given.folder, photos)
    quantize_openvino(given.folder, photos)
    (given.folder / "model.json").write_text(json.dumps(how) + "\n")


if __name__ == "__main__":
    main()
