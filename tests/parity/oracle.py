"""What transformers says: loads a model directory, captions photos, returns golden cases."""
import json
from pathlib import Path

import torch
import transformers
from PIL import Image, ImageOps
from transformers import (AutoImageProcessor, AutoTokenizer, BertTokenizer, BlipForConditionalGeneration, LogitsProcessor,
                          LogitsProcessorList, VisionEncoderDecoderModel)

transformers.utils.logging.set_verbosity(50)
transformers.utils.logging.disable_progress_bar()

GENERATE = {  # golden argument -> transformers' name
    "max_tokens": "max_new_tokens", "min_tokens": "min_new_tokens", "beams": "num_beams", "n_best": "num_return_sequences",
    "length_penalty": "length_penalty", "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram": "no_repeat_ngram_size",
}


class Undecided(Exception):
    """A choice so close that rounding could turn it, or a caption that proves nothing: take another seed."""


class Noise(LogitsProcessor):
    """Adds at most 5e-4 to every score: captions that change under it hang on rounding."""
    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids, scores):
        return scores + 5e-4 * (2 * torch.rand(scores.shape, generator=self.generator) - 1)


class Gap(LogitsProcessor):
    """Remembers the smallest distance between the two best scores (greedy search only)."""
    def __init__(self):
        self.smallest = float("inf")

    def __call__(self, input_ids, scores):
        best = scores[0].topk(2).values
        self.smallest = min(self.smallest, (best[0] - best[1]).item())
        return scores


class Oracle:
    def __init__(self, folder):
        folder = Path(folder)
        config = json.loads((folder / "config.json").read_text())
        self.is_blip = config["model_type"] == "blip"
        cls = BlipForConditionalGeneration if self.is_blip else VisionEncoderDecoderModel
        self.model = cls.from_pretrained(folder, dtype=torch.float32).eval()
        for module in self.model.modules():  # transformers leaves TrOCR's sine table, which no file holds, without values
            table = getattr(module, "weights", None)
            if table is not None and table.is_meta:
                module.weights = module.get_embedding(*table.shape, module.padding_idx)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
        except ValueError:  # a bare vocab.txt does not name its class
            self.tokenizer = BertTokenizer.from_pretrained(folder)

    def pixels(self, photo):
        """The photo upright and as Pillow's convert("RGB") has it, through the image processor."""
        with Image.open(photo) as image:
            image = ImageOps.exif_transpose(image).convert("RGB")
        return self.processor(images=image, return_tensors="pt").pixel_values

    def must_interpolate(self, pixels):
        """Whether the encoder takes pixels of another size than its own only when it is told to. DINOv2 takes any."""
        vision = self.model.config.vision_config if self.is_blip else self.model.config.encoder
        own = vision.image_size if isinstance(vision.image_size, (list, tuple)) else [vision.image_size] * 2
        return vision.model_type != "dinov2" and list(pixels.shape[2:]) != list(own)

    def start(self, prompt):
        """[1, n] ids that generation continues: start token and prompt; None for the model's own start."""
        if self.is_blip:
            if prompt is None:
                return None
            return self.tokenizer(prompt, return_tensors="pt").input_ids  # [CLS] ... [SEP], as BlipProcessor gives it
        if prompt is None:
            return None
        first = self.model.generation_config.decoder_start_token_id
        if first is None:
            first = self.model.generation_config.bos_token_id
        words = self.tokenizer(prompt, add_special_tokens=False).input_ids
        return torch.tensor([[first] + words])

    @torch.no_grad()
    def generate(self, pixels, args, processors=()):
        """Returns (sequences, n ids before the first generated one, per sequence log-probabilities, scores)."""
        kwargs = {GENERATE[k]: v for k, v in args.items() if k != "prompt"}
        if self.must_interpolate(pixels):
            kwargs["interpolate_pos_encoding"] = True
        start = self.start(args.get("prompt"))
        if start is not None:
            kwargs["input_ids" if self.is_blip else "decoder_input_ids"] = start.clone()
        out = self.model.generate(pixel_values=pixels, do_sample=False, output_logits=True, output_scores=True,
                                  return_dict_in_generate=True, logits_processor=LogitsProcessorList(processors), **kwargs)
        n_before = 1 if start is None else start.shape[1] - self.is_blip  # BLIP drops the prompt's [SEP]
        logprobs = []
        for row in range(out.sequences.shape[0]):
            values = []
            for step, logits in enumerate(out.logits[:out.sequences.shape[1] - n_before]):
                beam = row if getattr(out, "beam_indices", None) is None else int(out.beam_indices[row, step])
                if beam < 0:  # the hypothesis ended earlier
                    break
                values.append(torch.log_softmax(logits[beam].double(), -1)[out.sequences[row, n_before + step]].item())
            logprobs.append(values)
        scores = getattr(out, "sequences_scores", None)
        return out.sequences, n_before, logprobs, None if scores is None else scores.tolist()

    def hypotheses(self, pixels, args, processors=()):
        sequences, n_before, logprobs, scores = self.generate(pixels, args, processors)
        ends = self.end_tokens()
        found = []
        for row, values in enumerate(logprobs):
            tokens = sequences[row, n_before:].tolist()[:len(values)]
            ended = next((i for i, t in enumerate(tokens) if t in ends), None)
            if ended is not None:
                tokens, values = tokens[:ended + 1], values[:ended + 1]
            whole = sequences[row, :n_before].tolist() + tokens
            found.append({"tokens": tokens, "logprobs": [round(v, 7) for v in values],
                          "caption": self.tokenizer.decode(whole, skip_special_tokens=True)})
            if scores is not None:
                found[-1]["score"] = round(scores[row], 7)
        return found

    def end_tokens(self):
        ends = self.model.config.text_config.sep_token_id if self.is_blip else self.model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]

    def case(self, photo, args, photos):
        """One golden case; raises Undecided when rounding could change it."""
        pixels = self.pixels(photos / photo)
        gap = Gap()
        found = self.hypotheses(pixels, args, [] if args.get("beams", 1) > 1 else [gap])
        if gap.smallest < 1.5e-3:
            raise Undecided(f"{photo} {args}: two tokens within {gap.smallest:.1e}")
        scores = [h["score"] for h in found if "score" in h]
        if any(a - b < 1e-3 for a, b in zip(scores, scores[1:])):
            raise Undecided(f"{photo} {args}: two hypotheses with almost one score")
        for seed in range(3 if scores else 0):  # the gap says all about greedy search
            again = self.hypotheses(pixels, args, [Noise(seed)])
            if [h["tokens"] for h in again] != [h["tokens"] for h in found]:
                raise Undecided(f"{photo} {args}: the choice hangs on a thousandth")
        case = {"image": photo, "args": args, **found[0]}
        if args.get("n_best", 1) > 1:
            case["alternatives"] = found
        return case


def golden(folder, requests, photos):
    """requests: list of (photo, args). A case that hangs on rounding takes another photo, if one is left. Returns the cases;
    raises Undecided when they prove too little. The first request's args are the ones a model is screened by."""
    oracle = Oracle(folder)
    every = sorted(p.name for p in photos.iterdir())
    cases, taken, missing = [], {(photo, str(args)) for photo, args in requests}, []
    plain = requests[0][1]
    screen([oracle.hypotheses(oracle.pixels(photos / photo), args)[0] for photo, args in requests[:9] if args == plain])
    for photo, args in requests:
        for candidate in [photo] + [p for p in every if (p, str(args)) not in taken]:
            try:
                cases.append(oracle.case(candidate, args, photos))
                taken.add((candidate, str(args)))
                break
            except Undecided as reason:
                last = reason
        else:
            missing.append(last)
        if len(missing) > 2 or (missing and args != plain):
            raise missing[-1]
    return cases


def screen(hypotheses):
    """Refuses a model whose greedy captions do not depend on the photo, repeat themselves, or all end alike."""
    captions = [h["tokens"] for h in hypotheses]
    if len({tuple(t) for t in captions}) < max(2, len(captions) // 2):
        raise Undecided("the photos hardly matter")
    if sum(len(set(t)) for t in captions) < 4 * len(captions):
        raise Undecided("the captions repeat themselves")
    n_ended = sum(len(t) < 20 for t in captions)
    if not 0 < n_ended < len(captions) or sum(len(t) < 2 for t in captions) > len(captions) / 3:
        raise Undecided(f"{n_ended} of {len(captions)} captions end by themselves")


def dump(folder, photo):
    """Prints the numbers along the way, for whoever looks for the first one that differs."""
    oracle = Oracle(folder)
    pixels = oracle.pixels(photo)
    show = lambda what, t: print(f"{what:<28}", " ".join(f"{v:.6f}" for v in t.flatten()[:8].tolist()))
    with torch.no_grad():
        print("pixels", tuple(pixels.shape))
        for c in range(3):
            show(f"pixels channel {c}", pixels[0, c])
        model = oracle.model
        if oracle.is_blip:
            hidden = model.vision_model(pixel_values=pixels).last_hidden_state
        else:
            hidden = model.encoder(pixel_values=pixels).last_hidden_state
        print("image tokens", tuple(hidden.shape))
        for i in (0, 1, hidden.shape[1] - 1):
            show(f"image token {i}", hidden[0, i])
        if hasattr(model, "enc_to_dec_proj"):
            show("enc_to_dec_proj of token 0", model.enc_to_dec_proj(hidden)[0, 0])
        sequences, n_before, logprobs, _ = oracle.generate(pixels, {"max_tokens": 20})
        decoder = model.text_decoder if oracle.is_blip else model.decoder
        if hasattr(model, "enc_to_dec_proj"):
            hidden = model.enc_to_dec_proj(hidden)
        out = decoder(input_ids=sequences[:, :n_before], encoder_hidden_states=hidden, output_hidden_states=True)
        for i, h in enumerate(out.hidden_states):
            show("decoder input" if i == 0 else f"after decoder layer {i - 1}", h[0, -1])
        show("logits of the first step", out.logits[0, -1])
        print("ids before", sequences[0, :n_before].tolist(), "tokens", sequences[0, n_before:].tolist())
        print("log-probabilities", " ".join(f"{v:.6f}" for v in logprobs[0]))
