#!/usr/bin/env python3
"""Models that are broken, that ask for what is not there, and the files in which packed ones are kept.

    run_models.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import json
import os
import shutil
import subprocess
import sys
import time

import program
from program import BAD_MODEL, MODEL, OK, PHOTOS, ROOT, TestCase, rows_of, run


class Models(TestCase):
    def copy_model(self, name="vit-gpt2-bin"):
        target = self.work / name
        shutil.copytree(ROOT / "tests/parity/models" / name, target)
        return target

    def refuse(self, model, *said):
        began = time.monotonic()
        status, out, err = run(PHOTOS / "wide.jpg", model=model)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual((status, out), (BAD_MODEL, ""), err)
        self.assertEqual(err.count("\n"), 1, err)
        for text in said:
            self.assertIn(text, err)

    def test_missing_and_foreign_models(self):
        self.refuse(self.work / "none", "none")
        (self.work / "empty").mkdir()
        self.refuse(self.work / "empty", "config.json")
        (self.work / "text.gguf").write_text("not a model")
        self.refuse(self.work / "text.gguf", "text.gguf")

    def test_broken_configurations(self):
        for content, said in [("{", "config.json"), ("[]", "config.json"), ("{}", "model_type"),
                              ('{"model_type": "gpt2"}', "gpt2")]:
            model = self.copy_model()
            (model / "config.json").write_text(content)
            self.refuse(model, said)
            shutil.rmtree(model)

    def test_settings_that_captions_cannot_honour(self):
        photo, model = PHOTOS / "wide.jpg", self.copy_model()
        settings = json.loads((model / "config.json").read_text())["decoder"]
        kept = {k: settings[k] for k in ("max_length", "no_repeat_ngram_size")}
        caption = run(photo, check=OK)[1]
        path = model / "generation_config.json"
        for idle in ({"sequence_bias": None, "num_beam_groups": 1, "diversity_penalty": 0.0, "guidance_scale": 1.0,
                      "do_sample": False, "num_return_sequences": 1, "renormalize_logits": False, "force_words_ids": []}, {}):
            path.write_text(json.dumps(kept | idle))
            self.assertEqual(run(photo, model=model, check=OK)[1:], (caption, ""))
        for key, value in [("sequence_bias", [[[40], -5.0]]), ("exponential_decay_length_penalty", [5, 1.5]),
                           ("num_beam_groups", 2), ("penalty_alpha", 0.6), ("renormalize_logits", True),
                           ("guidance_scale", 1.5), ("stop_strings", "."), ("forced_decoder_ids", [[1, 40]])]:
            path.write_text(json.dumps(kept | {key: value}))
            self.refuse(model, f"'{key}'", model.name, "without that key")
        path.write_text(json.dumps(kept | {"do_sample": True, "num_return_sequences": 3}))
        _, out, err = run(photo, model=model, check=OK)
        self.assertEqual(out, caption)
        self.assertRegex(err, r"(?s)^looksay: vit-gpt2-bin: .*do_sample.*\n.*num_return_sequences.*\n$")
        self.assertEqual(run("-q", photo, model=model, check=OK)[1:], (caption, ""))
        self.assertEqual(len(json.loads(run("info", "-q", "--format", "json", model=model, check=OK)[1])["notes"]), 2)

    def test_damaged_weights_name_the_tensor(self):
        model = self.copy_model("blip-full")
        weights = model / "model.safetensors"
        whole = weights.read_bytes()
        size = int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8:8 + size])
        name = next(n for n in header if n.endswith("crossattention.self.query.weight"))

        weights.write_bytes(whole[:-100])
        self.refuse(model, "model.safetensors")

        def rewrite(change):
            changed = json.loads(json.dumps(header))
            change(changed)
            text = json.dumps(changed).encode()
            weights.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size:])

        rewrite(lambda h: h.update({name + "x": h.pop(name)}))
        self.refuse(model, name)
        rewrite(lambda h: h[name].update(shape=[1, 2, 3]))
        self.refuse(model, name)
        rewrite(lambda h: h[name].update(dtype="I32"))
        self.refuse(model, name, "i32", "float32")
        rewrite(lambda h: h[name].update(data_offsets=[0, 1 << 60]))
        self.refuse(model, name)
        weights.write_bytes((1 << 62).to_bytes(8, "little") + whole[8:])
        self.refuse(model, "model.safetensors")

    def test_a_missing_token_is_named(self):
        model = self.copy_model("deit-bert-untied")
        weights = model / "model.safetensors"
        whole = weights.read_bytes()
        token = b"encoder.embeddings.distillation_token"
        self.assertEqual(whole.count(token), 1)
        weights.write_bytes(whole.replace(token, token[:-1] + b"m"))
        self.refuse(model, "distillation_token", "missing")

    def test_pickles_that_would_run_code(self):
        import pickle
        import zipfile

        class Bomb:
            def __reduce__(self):
                return os.system, (f"touch {self.path}",)

        model = self.copy_model()
        bomb = Bomb()
        bomb.path = self.work / "ran"
        with zipfile.ZipFile(model / "pytorch_model.bin", "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"encoder.x": bomb}, protocol=2))
            archive.writestr("archive/version", "3\n")
        self.refuse(model, "pytorch_model.bin")
        self.assertFalse((self.work / "ran").exists())


class PackedCache(TestCase):
    """--packed-cache: what --dtype packs of a directory, kept in files."""

    def setUp(self):
        super().setUp()
        self.cache = self.work / "cache"
        self.model = self.work / "a model"
        shutil.copytree(MODEL, self.model)

    def caption(self, *words, check=OK):
        _, out, err = run("-f", "jsonl", "--details", *words, PHOTOS / "wide.jpg", model=self.model, check=check)
        row, = rows_of(out)
        return {k: row[k] for k in ("caption", "tokens", "logprobs", "model")}, err

    def files(self):
        return {p.name: p.stat().st_mtime_ns for p in self.cache.iterdir()}

    def test_packed_once_and_the_same(self):
        for dtype in ("int8", "bf16", "int4"):
            plain = self.caption("--dtype", dtype)
            words = ("--dtype", dtype, "--packed-cache", self.cache)
            self.assertEqual(self.caption(*words), plain)
            packed = self.files()
            self.assertEqual(self.caption(*words), plain)
            self.assertEqual(self.files(), packed)
        self.assertEqual(len(packed), 3)
        unpacked = run(PHOTOS / "wide.jpg", model=self.model, env={"LOOKSAY_PACKED_CACHE": str(self.cache)}, check=OK)
        self.assertEqual(unpacked, run(PHOTOS / "wide.jpg", model=self.model, check=OK))
        self.assertEqual(self.files(), packed)

    def test_one_file_is_opened_as_it_is(self):
        """A script that captions with either kind of model goes on; what the environment holds is for other commands too."""
        small, photo = self.work / "small.gguf", PHOTOS / "wide.jpg"
        run("quantize", self.model, "-o", small, model=None, check=OK)
        plain = run(photo, model=small, check=OK)
        words = ("--dtype", "int8", "--packed-cache", self.cache)
        _, out, err = run(*words, photo, model=small, check=OK)
        self.assertEqual(out, plain[1])
        self.assertIn(f"{small}: one file, opened as it is; --packed-cache", err)
        self.assertEqual(err.count("\n"), 1)
        self.assertEqual(run(*words, "-q", photo, model=small, check=OK), plain)
        self.assertEqual(run("--dtype", "int8", photo, model=small, env={"LOOKSAY_PACKED_CACHE": str(self.cache)}), plain)
        self.assertFalse(self.cache.exists())

    def test_stale_files_go(self):
        words = ("--dtype", "int8", "--packed-cache", self.cache)
        plain = self.caption(*words)
        before = self.files()
        os.utime(self.model / "config.json", ns=(1, 1))
        self.assertEqual(self.caption(*words), plain)
        after = self.files()
        self.assertEqual(len(after), 1)
        self.assertNotEqual(after.keys(), before.keys())
        other = self.work / "other" / "a model"  # of the same name, from elsewhere
        shutil.copytree(self.model, other)
        run(*words, PHOTOS / "wide.jpg", model=other, check=OK)
        self.assertEqual(len(self.files()), 2)

    def test_a_cache_that_fails_costs_no_caption(self):
        plain, _ = self.caption("--dtype", "int8")
        words = ("--dtype", "int8", "--packed-cache")
        self.caption(*words, self.cache)
        name, = self.files()
        (self.cache / name).write_bytes(b"GGUF damaged")
        row, err = self.caption(*words, self.cache)
        self.assertEqual(row, plain)
        self.assertIn("going on without it", err)
        self.assertEqual(self.files(), {})
        row, err = self.caption(*words, self.model / "config.json" / "cache")
        self.assertEqual(row, plain)
        self.assertIn("going on without a packed model", err)
        limits = ("import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
                  "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); os.execv(sys.argv[1], sys.argv[1:])")
        done = subprocess.run([sys.executable, "-c", limits, program.LOOKSAY, "-m", str(self.model), "--dtype", "int8", "--packed-cache",
                               str(self.cache), str(PHOTOS / "wide.jpg")], capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout.decode().strip()), (OK, plain["caption"]))  # as on a full disk
        self.assertIn(b"going on without a packed model", done.stderr)
        self.assertEqual(self.files(), {})
        (self.cache / "unrelated.gguf").write_bytes(b"")
        self.caption(*words, self.cache)
        self.assertIn("unrelated.gguf", self.files())


if __name__ == "__main__":
    program.main()
