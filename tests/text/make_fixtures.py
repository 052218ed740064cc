#!/usr/bin/env python3
"""Trains small tokenizers of every kind and writes what Hugging Face makes of lines.txt, hostile strings and the code points of Unicode.

usage: make_fixtures.py         fills fixtures/ beside this script; needs tokenizers, transformers, sentencepiece, protobuf

fixtures/NAME/           a model directory, opened with lks_tokenizer_open_dir; the oracle is transformers
fixtures/NAME.json       a tokenizer.json, opened with lks_tokenizer_open_json; the oracle is tokenizers
fixtures/hostile.txt     one string per line: "TIMES HEX", the bytes of HEX so many times
fixtures/NAME.expected   what becomes of each text: the lines of lines.txt (not for the probes), the hostile strings, then for the
                         probes the sweep strings. "IDS|IDS|HEX|HEX" is ids with and without the template, and the text decoded
                         from the former without and with special tokens (U+0000 left out). To save room, long or tame ones
                         stand together as "h COUNT CRC": the CRC-32 of the next COUNT such lines, newlines included.
"""
import json
import os
import random
import shutil
import sys
import unicodedata
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore")

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, logging
from transformers.tokenization_utils_tokenizers import TokenizersBackend

logging.set_verbosity_error()
HERE = Path(__file__).resolve().parent
OUT = HERE / "fixtures"
LINES = (HERE / "lines.txt").read_text(encoding="utf-8").split("\n")[:-1]
WRITTEN_OUT = 20  # lines whose expectation is written out; the rest are hashed
LONGEST = 160     # and so is what is longer than this
GROUP = 16        # expectations to a hash, at most
CHUNK = 256       # code points in one sweep string


# --- texts ---

def hostile():
    """(times, bytes) of every hostile string."""
    texts = [
        "", " ", "   ", "\t", "\n", "\r\n", " \t\n\r\x0b\x0c\x1c\x85\xa0 ", "a\tb\nc\r\nd", "\n\n\na", "a \n", "a\u2028b\u2029c",
        "\u1680a\u2000b\u2001c\u2002d\u2003e\u2009f\u200ag\u202fh\u205fi\u3000j", "x\u00a0\u00a0y", "  two  spaces   three    ",
        "\x00", "a\x00b", "\x01\x02\x07\x1b[31mred\x7f\x80\x9f", "soft\u00adhyphen", "\ufeffBOM", "\ufffd", "a\ufffdb",
        "zero\u200bwidth\u200cnon\u200djoiner\u2060word", "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2069",
        "e\u0301", "\u00e9", "e\u0301\u0327\u0323", "\u0301", "\u0301\u0301a", "a\u0315\u0300\u05ae\u0062",
        "\u1e9b\u0323", "\u212b\u00c5A\u030a", "\ufb01\ufb02\ufb03", "\u2460\u00bd\u2163\u216f", "\u3392\u33a5\u32ff",
        "\uff21\uff42\uff11\uff01\u3000\uff5e", "\u1100\u1161\u11a8\uac01", "\u0958\u0915\u093c", "\u2126\u03a9", "\u0344\u0340",
        "\u0390\u1fd3\u03b0\u1fe3", "\ufdfa\ufdfb", "\u2a74\u2a75", "\u0e33\u0eb3", "\u0f73\u0f75\u0f81", "x\u20dd\u20e3",
        "\u0130I\u0131i\u1e9e\u00df\u03a3\u03c3\u03c2\u01c5\u01c4", "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3",
        "na\u00efve caf\u00e9 \u010de\u0161tina \u0141\u00f3d\u017a \u00d8rsted \u0110\u00e0 N\u1eb5ng", "A\u0300\u0301\u0302" * 5,
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f468\U0001f3fd\u200d\U0001f680", "\U0001f1e8\U0001f1ff\U0001f1e9",
        "\u2764\ufe0f\u200d\U0001f525", "#\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f600text\U0001f600", "\U0001fae8\U0001f6dc",
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u0627\u0653\u0654\u0655",
        "\u4e2d\u6587 \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4", "\u6f22\u5b57\u304b\u306a\u4ea4\u3058\u308a", "\u304b\u3099\u304c\u30ab\u3099\u30ac\uff76\uff9e",
        "\U00020000\U0002a6df\U0002f800\uf900\u3400", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd",
        "\ud7a3\u1175\u11c2", "\ue000\uf8ff\U000f0000\U0010ffff", "\uffff\ufdd0\ufffe", "\U0001d400\U0001d7ff\U0001d518", "\u2100\u2116\u2122\u33cb",
        "don't we'll I'm you've they're he'd it's 'tis o'clock DON'T IT'S 's't", "''''", "'s 's's", " 's", "a'", "'re're",
        "1 12 123 1234 12345 1,234.5 \u0661\u0662\u0663 \u00b2\u00b3 \u2167 3rd 4K", "1a2b3c", "a1b2", "\u096a\u0967x", "007",
        "!?.,;:-_()[]{}<>/\\|@#$%^&*~`\"+=", "a.b,c!d?e", "... --- ***", "\u00bfqu\u00e9? \u00a1s\u00ed!", "\u2018quotes\u2019 \u201clike\u201d \u201ethese\u201c \u00abor\u00bb",
        "\u2013\u2014\u2026\u2020\u2030", "a_b __c__ d-e", "http://x.y/z?q=1&r=%20#f", "user@example.com", "C:\\dir\\file.txt", "x<y>z", "a  .  b  ,  c",
        "<s> </s> <pad> <unk> <mask> <|endoftext|> [CLS] [SEP] [PAD] [UNK] [MASK]", "<s></s><s>", "a<mask>b", "a <mask> b", "  <mask>  x",
        "<|endoftext|><|endoftext|>x", "[MASK]ed [mask] [Mask]", "x[SEP]", "<|endoftext|", "<mas k>", "<MASK>", "[cls]", "<<s>>", "<s", "s>",
        "<one> x<one>y <one>z", "<Three> a <three>b<THREE>", "<Two>  a  <two>b<TWO>", "word wordy xword word. word", "caf\u00e9X", "cafe\u0301X CAF\u00c9x", "<l>  <r>  <l> a <r> b",
        "a <l><r> b", "<0x41><0x0A>", "\u2581", "\u2581a\u2581\u2581b \u2581c", "a\u2581", "\u0120a \u010ab", "##a ## a", "a##b", "</w>a</w>", "@@a a@@",
        "A man riding a wave on top of a surfboard.", "a" * 99, "a" * 100, "a" * 101, "ab" * 60, "\u00e9" * 101, " " * 70, "a " * 40, "\n" * 33,
        "the the the the", "THE DOG", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "runs run running runner", "\u00e9\u00e8\u00ea\u00eb \u00e0\u00e2 \u00f4\u00f6 \u00fb\u00fc \u00e7",
        "\u017elu\u0165ou\u010dk\u00fd k\u016f\u0148 \u00fap\u011bl \u010f\u00e1belsk\u00e9 \u00f3dy", "Stra\u00dfe Stra\u1e9ee STRASSE", "\r", "\r\r\n\n", "a\u0085b", "\u180e\u180f",
    ]
    found = [(1, text.encode()) for text in texts]
    for part in (b"\xff", b"\xc0\x80", b"\xe2\x82", b"a\xe2\x82b", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xed\xb0\x80\xed\xa0\x80", b"\xf4\x90\x80\x80",
                 b"\xf8\x88\x80\x80\x80", b"\x80\x80", b"ok \xc3", b"\xc3(", b"\xe0\x80\xaf", b"\xf0\x80\x80\x80", b"caf\xe9", b"\xfe\xff\x00a"):
        found.append((1, part))
    rng = random.Random(7)
    pool = ["a", "B", " ", "  ", "\u0301", "\u0327", "\u200d", "\U0001f469", "\u00e9", "\u4e2d", "1", "'s", ".", "\n", "\u00a0", "<mask>", "[SEP]",
            "\u0130", "\uac00", "\u1161", "\u2581", "\ufb01", "the", "ing", "-", "\u0e33", "\u05b8", "\u094d", "\U0001f1e8", "\ufe0f", "<one>", "word", "\x00"]
    for _ in range(60):
        found.append((1, "".join(rng.choice(pool) for _ in range(rng.randint(5, 60))).encode()))
    for _ in range(20):
        found.append((1, bytes(rng.randrange(256) for _ in range(rng.randint(5, 80)))))
    found += [(5000, b"a"), (3000, b"ab "), (4000, "\u0301".encode()), (2000, "\u0301\u0327".encode()), (3000, b" "), (2000, b"!"),
              (1500, "\U0001f469\u200d".encode()), (2000, "\u4e2d".encode()), (3000, b"\xff"), (1000, b"<mask>"), (2500, b"12"),
              (400, b"A man riding a wave on top of a surfboard. ")]
    return found


WHOLE = [(0x1, 0x3400), (0xA000, 0xAC00), (0xD7A0, 0xD800), (0xF900, 0x12000), (0x1D000, 0x20000), (0x2F800, 0x2FB00),
         (0xE0000, 0xE0200)]


def swept(c):
    """All of the blocks whose code points differ from each other, a few of the others."""
    if any(low <= c < high for low, high in WHOLE):
        return True
    return c % (61 if c < 0x40000 else 499) == 0 and not 0xD800 <= c < 0xE000


def sweep():
    """Strings that set each swept code point between letters, digits and itself."""
    points = [c for c in range(1, 0x110000) if swept(c)]
    for start in range(0, len(points), CHUNK):
        yield "".join(f"a{chr(c)}1{chr(c)}{chr(c)} " for c in points[start:start + CHUNK])


# --- expectations ---

def expect(name, encode, decode, texts):
    """Writes NAME.expected. encode(text, add_special) -> ids; decode(ids, skip_special) -> text."""
    group = []
    with open(OUT / f"{name}.expected", "w", encoding="ascii") as out:

        def put_group():
            if group:
                out.write(f"h {len(group)} {zlib.crc32(''.join(group).encode()):08x}\n")
                group.clear()

        for i, text in enumerate(texts):
            whole, plain = encode(text, True), encode(text, False)
            line = "|".join([" ".join(map(str, whole)), " ".join(map(str, plain)),
                             *(decode(whole, skip).replace("\0", "").encode().hex() for skip in (True, False))]) + "\n"
            if len(line) > LONGEST or WRITTEN_OUT <= i < len(LINES):
                group.append(line)
                if len(group) == GROUP:
                    put_group()
            else:
                put_group()
                out.write(line)
        put_group()


HOSTILE = hostile()
TEXTS = LINES + [(data * times).decode("utf-8", "replace") for times, data in HOSTILE]
SWEEP = list(sweep())


def expect_json(name, tokenizer, texts=None):
    tokenizer.save(str(OUT / f"{name}.json"), pretty=False)
    tokenizer = Tokenizer.from_file(str(OUT / f"{name}.json"))
    expect(name, lambda text, special: tokenizer.encode(text, add_special_tokens=special).ids,
           lambda ids, skip: tokenizer.decode(ids, skip_special_tokens=skip), TEXTS if texts is None else texts)


def expect_folder(name, oracle=AutoTokenizer):
    tokenizer = oracle.from_pretrained(OUT / name)
    expect(name, lambda text, special: tokenizer(text, add_special_tokens=special)["input_ids"],
           lambda ids, skip: tokenizer.decode(ids, skip_special_tokens=skip), TEXTS)


def folder(name):
    path = OUT / name
    path.mkdir()
    return path


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


# --- directories, as published models have them ---

def byte_bpe(size, special, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


def gpt2():
    path = folder("gpt2")
    byte_bpe(700, ["<|endoftext|>"]).model.save(str(path))
    dump(path / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024})
    dump(path / "special_tokens_map.json", {key: "<|endoftext|>" for key in ("bos_token", "eos_token", "unk_token")})
    expect_folder("gpt2")


def roberta():
    path = folder("roberta")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = byte_bpe(600, special)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    tokenizer.save(str(path / "tokenizer.json"), pretty=False)
    dump(path / "tokenizer_config.json", {
        "tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>",
        "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "clean_up_tokenization_spaces": True,
        "mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}})
    expect_folder("roberta")


def wordpiece_vocab(size, lower):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(LINES, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    return tokenizer


def bert_uncased():
    path = folder("bert-uncased")
    vocab = wordpiece_vocab(600, True).get_vocab()
    (path / "vocab.txt").write_text("".join(token + "\n" for token in sorted(vocab, key=vocab.get)), encoding="utf-8")
    dump(path / "config.json", {"model_type": "blip"})
    dump(path / "tokenizer_config.json", {"do_lower_case": True, "clean_up_tokenization_spaces": True})
    expect_folder("bert-uncased")


def bert_cased():
    path = folder("bert-cased")
    tokenizer = wordpiece_vocab(600, False)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(path / "tokenizer.json"), pretty=False)
    dump(path / "tokenizer_config.json", {
        "tokenizer_class": "BertTokenizerFast", "do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False,
        "additional_special_tokens": ["[DEC]", "[ENC]"], "added_tokens_decoder": {
            "600": {"content": "word", "single_word": True, "lstrip": False, "rstrip": False, "normalized": True, "special": False}}})
    expect_folder("bert-cased")


def sentencepiece_model(prefix, **options):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_prefix=str(prefix), minloglevel=2, num_threads=1, hard_vocab_limit=False, **options)
    Path(f"{prefix}.vocab").unlink()


# nmt_nfkc's map, which published models have, takes 240 KiB: this one has its traps and some of its size.
RULES = [
    ("\u00a0", " "), ("\u3000", " "), ("\t", " "), ("\n", " "), ("\r", " "), ("e\u0301", "\u00e9"), ("\u2460", "1"),
    ("\u200b", ""), ("\u1100\u1161", "\uac00"), ("\u212b", "\u00c5"), ("\u00bd", "1\u20442"), ("\u2026", "...")]
RULES += [(chr(c), unicodedata.normalize("NFKC", chr(c))) for c in (*range(0x3300, 0x3400), *range(0xFB00, 0xFB07), *range(0xFF01, 0xFFA0))]


def charsmap_model(prefix, **options):
    rules = OUT / "rules.tsv"
    rules.write_text("".join("\t".join(" ".join(f"{ord(c):X}" for c in text) for text in rule) + "\n" for rule in RULES), encoding="utf-8")
    sentencepiece_model(prefix, model_type="unigram", normalization_rule_tsv=str(rules), **options)
    rules.unlink()


def xlm_roberta():
    """TrOCR's kind: a SentencePiece model alone; and the same as a tokenizer.json whose steps the class replaces."""
    path = folder("xlm-roberta-spm")
    charsmap_model(path / "sentencepiece.bpe", vocab_size=600)
    dump(path / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer", "mask_token": {
        "__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": True, "special": True}})
    expect_folder("xlm-roberta-spm")

    path = folder("xlm-roberta")
    charsmap_model(path / "sentencepiece.bpe", vocab_size=500)
    dump(path / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer._tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer._tokenizer.save(str(path / "tokenizer.json"), pretty=False)
    (path / "sentencepiece.bpe.model").unlink()
    expect_folder("xlm-roberta")


def sentencepiece_bpe():
    path = folder("spm-bpe")
    sentencepiece_model(path / "tokenizer", vocab_size=700, model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                        user_defined_symbols=["<one>", "word"])
    expect_folder("spm-bpe", TokenizersBackend)

    # The other way in every option: no mark at the beginning, spaces as they are, no bytes; a placeholder that is renamed.
    path = folder("spm-bpe-bare")
    sentencepiece_model(path / "tokenizer", vocab_size=300, model_type="bpe", normalization_rule_name="identity", add_dummy_prefix=False,
                        remove_extra_whitespaces=False, control_symbols=["<free>"], character_coverage=0.99)
    dump(path / "tokenizer_config.json", {"added_tokens_decoder": {"3": {
        "content": "<two>", "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}}})
    expect_folder("spm-bpe-bare", TokenizersBackend)

    # Unigram, and a mark at the beginning of the text only.
    path = folder("spm-unigram")
    sentencepiece_model(path / "tokenizer", vocab_size=300, model_type="unigram", normalization_rule_name="identity",
                        user_defined_symbols=["<one>", "a|b"])
    dump(path / "tokenizer_config.json", {"legacy": False, "additional_special_tokens": ["<Two>"]})
    expect_folder("spm-unigram", TokenizersBackend)


# --- tokenizer.json alone, with rarer steps ---

ADDED = [AddedToken("<one>", special=True), AddedToken("<Two>", normalized=True), AddedToken("<Three>", normalized=True, special=True),
         AddedToken("word", single_word=True, normalized=False),
         AddedToken("<l>", lstrip=True, normalized=False), AddedToken("<r>", rstrip=True, normalized=False), AddedToken("caf\u00e9X", normalized=True),
         AddedToken("<mask>", lstrip=True, rstrip=True, special=True)]


def llama():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.train_from_iterator(LINES[:400], trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], max_token_length=12, show_progress=False))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    expect_json("llama", tokenizer)


def unigram_steps():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Digits(True)])
    tokenizer.train_from_iterator(LINES, trainers.UnigramTrainer(
        vocab_size=800, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], unk_token="<unk>", show_progress=False))
    state = json.loads(tokenizer.to_str())
    state["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_tokens(ADDED)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), processors.BertProcessing(("</s>", 2), ("<s>", 1))])
    expect_json("unigram-steps", tokenizer)


def wordpiece_steps():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(False)])
    tokenizer.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]", "[CLS]"], show_progress=False))
    tokenizer.add_tokens(ADDED)
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [CLS] [CLS]", special_tokens=[("[CLS]", 1)])
    expect_json("wordpiece-steps", tokenizer)


def bpe_suffix():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("-", "merged_with_previous"), pre_tokenizers.Split(",", "merged_with_next")])
    tokenizer.train_from_iterator(LINES[:600], trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))
    tokenizer.add_tokens(ADDED)
    tokenizer.decoder = decoders.BPEDecoder()
    expect_json("bpe-suffix", tokenizer)


def bpe_regex():
    tokenizer = byte_bpe(650, ["<s>"])
    state = json.loads(tokenizer.to_str())
    state["model"]["ignore_merges"] = True
    state["model"]["merges"] = state["model"]["merges"][:200]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    words = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.add_tokens(ADDED)
    expect_json("bpe-regex", tokenizer)


# --- probes: one step each, over a byte alphabet without merges, so that ids show the bytes and "G" the cuts ---

def probes():
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    show = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cuts = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    seen = [(name, step, show) for name, step in (
        ("nfc", normalizers.NFC()), ("nfd", normalizers.NFD()), ("nfkc", normalizers.NFKC()), ("nfkd", normalizers.NFKD()),
        ("lowercase", normalizers.Lowercase()), ("strip-accents", normalizers.StripAccents()), ("nmt", normalizers.Nmt()),
        ("bert", normalizers.BertNormalizer()), ("bert-clean", normalizers.BertNormalizer(strip_accents=False, lowercase=False)),
        ("charsmap", charsmap()))]
    seen += [(name, None, pre_tokenizers.Sequence([step, cuts])) for name, step in (
        ("split-bytes", pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), "isolated")),
        ("split-bert", pre_tokenizers.BertPreTokenizer()), ("split-words", pre_tokenizers.Whitespace()),
        ("split-white", pre_tokenizers.WhitespaceSplit()), ("split-digits", pre_tokenizers.Digits(True)),
        ("split-punctuation", pre_tokenizers.Punctuation("merged_with_next")))]
    for name, normalizer, splitter in seen:
        tokenizer = Tokenizer(models.BPE(alphabet, []))
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = splitter
        tokenizer.decoder = decoders.ByteLevel()
        expect_json("probe-" + name, tokenizer, TEXTS[len(LINES):] + SWEEP)


def charsmap():
    charsmap_model(OUT / "rules", vocab_size=200)
    from transformers.convert_slow_tokenizer import SentencePieceExtractor
    proto = SentencePieceExtractor(str(OUT / "rules.model")).proto
    (OUT / "rules.model").unlink()
    return normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)


def main():
    if len(sys.argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    (OUT / "hostile.txt").write_text("".join(f"{times} {data.hex()}\n" for times, data in HOSTILE), encoding="ascii")
    for make in (gpt2, roberta, bert_uncased, bert_cased, xlm_roberta, sentencepiece_bpe, llama, unigram_steps, wordpiece_steps, bpe_suffix,
                 bpe_regex, probes):
        make()
        print(make.__name__, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
