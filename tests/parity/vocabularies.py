"""Small tokenizers of the kinds captioning models use, trained on a few dozen caption-like lines."""
import io
import itertools
import json
from pathlib import Path

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)


def corpus():
    things = ["a dog", "two dogs", "a man in a red shirt", "a woman", "children", "a picture of a horse", "the boat"]
    deeds = ["running", "jumping over a fence", "standing near the water", "playing with a ball", "sitting on a bench"]
    places = ["in the grass .", "on the beach .", "at night, under a street light .", "in front of a building ."]
    return [" ".join(line) for line in itertools.product(things, deeds, places)]


def _dump(path, data):
    Path(path).write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _byte_bpe(n_merges, special):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=256 + len(special) + n_merges, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def gpt2_files(folder):
    """vocab.json + merges.txt, the end-of-text token last; GPT-2's own layout, without tokenizer.json."""
    tokenizer = _byte_bpe(60, [])
    tokenizer.model.save(str(folder))
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocab["<|endoftext|>"] = len(vocab)
    _dump(folder / "vocab.json", vocab)
    end = "<|endoftext|>"
    _dump(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024, "unk_token": end,
                                             "bos_token": end, "eos_token": end, "add_prefix_space": False})
    _dump(folder / "special_tokens_map.json", {"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": end})
    return len(vocab)


def roberta_json(folder):
    """tokenizer.json with byte-level BPE and RoBERTa's post-processor."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = _byte_bpe(40, special)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    _dump(folder / "tokenizer_config.json", {
        "tokenizer_class": "RobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>",
        "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>", "add_prefix_space": False})
    return tokenizer.get_vocab_size()


def _bert_words(at):
    """A WordPiece vocabulary whose four special tokens after [PAD] start at id `at`. Written out by rule, because the
    WordPiece trainer does not give the same list twice."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    counted = {}
    for word in " ".join(corpus()).replace(",", " , ").split():
        counted[word] = counted.get(word, 0) + 1
    words = sorted((w for w in counted if len(w) > 1), key=lambda w: (-counted[w], w))[:60]
    words += list(letters) + list(".,!?'-789") + ["##" + c for c in letters] + ["##ing", "##s", "##ed", "##\u00e9"]
    words = list(dict.fromkeys(words))
    return ["[PAD]"] + words[:at - 1] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words[at - 1:]


def bert_txt(folder, at=100):
    """vocab.txt only. With `at` 100 the special tokens have BERT's real ids: [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103."""
    words = _bert_words(at)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return len(words)


def bert_json(folder, at=100):
    """tokenizer.json and vocab.txt, as transformers writes them for BERT."""
    words = _bert_words(at)
    ids = {w: i for i, w in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])])
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    _dump(folder / "tokenizer_config.json", {
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "unk_token": "[UNK]", "cls_token": "[CLS]",
        "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"})
    return len(words)


def _sentencepiece(rule="identity"):
    """`rule`: nmt_nfkc is what published models carry; its table alone is 230 KiB."""
    import sentencepiece
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=model, vocab_size=150,
                                             model_type="unigram", hard_vocab_limit=False, minloglevel=2,
                                             normalization_rule_name=rule)
    return model.getvalue(), sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


XLMR = {"tokenizer_class": "XLMRobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>",
        "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}


def unigram_json(folder):
    """tokenizer.json with a Unigram model and Metaspace; ids as XLM-R has them."""
    _, pieces = _sentencepiece()
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, pieces.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(),
                                                 normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    _dump(folder / "tokenizer_config.json", XLMR)
    return tokenizer.get_vocab_size()


def spm_model(folder):
    """sentencepiece.bpe.model without tokenizer.json, as TrOCR small ships it: XLM-R shifts the pieces' ids by one."""
    model, pieces = _sentencepiece()
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    _dump(folder / "tokenizer_config.json", XLMR)
    return pieces.get_piece_size() + 2  # <pad> slips in at 1, <mask> goes last


KINDS = {"gpt2": gpt2_files, "roberta": roberta_json, "bert_txt": bert_txt, "bert_json": bert_json,
         "unigram": unigram_json, "spm": spm_model}


def write(kind, folder):
    """Writes the files of a tokenizer kind into `folder`; returns the number of ids."""
    return KINDS[kind](Path(folder))
