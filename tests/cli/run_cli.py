#!/usr/bin/env python3
"""The program as its users meet it: arguments, streams, exit statuses, files, bad inputs.

    run_cli.py LOOKSAY [TestCase.test_name...] [--portable]

Most of it runs against a small random model of tests/parity, where what is said means nothing but how it is said does. Standard
library only.
"""
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = ROOT / "tests/parity/models/vit-gpt2-bin"
PHOTOS = ROOT / "tests/parity/photos"
LOOKSAY = None
PORTABLE = False  # a build without libjpeg, whose JPEGs differ from what torch saw, and without fast kernels

OK, SOME_FAILED, USAGE, BAD_MODEL, OUTPUT, INTERRUPTED = 0, 1, 2, 3, 4, 130


def run(*words, model=MODEL, stdin=b"", env=None, check=None, cwd=None):
    """Runs the program; returns (exit status, stdout, stderr) with texts decoded leniently."""
    command = [LOOKSAY, *words]
    if model:
        command += ["--model", model]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOKSAY_")}
    environment.update(env or {})
    done = subprocess.run([os.fsencode(w) for w in command], input=stdin, capture_output=True, timeout=600,
                          env=environment, cwd=cwd)
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    if check is not None and done.returncode != check:
        raise AssertionError(f"exit status {done.returncode}, not {check}\nstdout: {out}\nstderr: {err}")
    return done.returncode, out, err


def run_bytes(*words, stdin=b"", cwd=None):
    """Standard output as it is, of a run that succeeds without a model."""
    done = subprocess.run([os.fsencode(w) for w in (LOOKSAY, *words)], input=stdin, capture_output=True, timeout=120, cwd=cwd)
    if done.returncode != OK:
        raise AssertionError(f"exit status {done.returncode}\nstderr: {done.stderr}")
    return done.stdout


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


class TestCase(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="looksay-cli-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def photos(self, *names):
        folder = self.work / "photos"
        folder.mkdir(exist_ok=True)
        for name in names:
            shutil.copy(PHOTOS / name, folder / name)
        return folder


class Usage(TestCase):
    def test_no_arguments_is_usage(self):
        status, out, err = run(model=None)
        self.assertEqual((status, out), (USAGE, ""))
        self.assertIn("usage:", err)

    def test_help_and_version_go_to_standard_output(self):
        for words in (["--help"], ["help"], ["-h"], ["caption", "--help"], ["help", "bench"], ["eval", "-h"]):
            _, out, err = run(*words, model=None, check=OK)
            self.assertIn("examples:", out, words)
            self.assertEqual(err, "", words)
        self.assertRegex(run("--version", model=None, check=OK)[1], r"^looksay \d+\.\d+\.\d+\n$")

    def test_mistakes_are_named(self):
        photo = PHOTOS / "wide.jpg"
        for words, said in [
            (["--beems", "3", photo], "--beems"),
            (["--beams", "many", photo], "--beams takes a whole number"),
            (["--beams", "0", photo], "--beams takes a whole number from 1"),
            (["--beams"], "--beams needs a value"),
            (["--format", "yaml", photo], "text|jsonl|csv|html|txt"),
            (["--details=yes", photo], "takes no value"),
            (["--dtype", "int3", photo], "--dtype takes"),
            (["--top-p", "nan", photo], "--top-p takes a number"),
            (["-x", photo], "-x"),
            (["caption"], "name an image"),
            (["info", "a", "b"], "one model"),
            (["eval"], "one file"),
            (["completion", "tcsh"], "bash, zsh or fish"),
            (["--format", "txt", "-o", "x", photo], "beside the photos"),
        ]:
            model = None if words[0] in ("--beams", "completion") and len(words) < 3 else MODEL
            status, out, err = run(*words, model=model)
            self.assertEqual(status, USAGE, words)
            self.assertIn(said, err, words)
            self.assertEqual(out, "", words)

    def test_an_option_that_can_do_nothing_is_refused(self):
        """Before a model is looked for; what the environment holds is for other commands too, and no mistake."""
        photo, idle = PHOTOS / "wide.jpg", "does nothing without"
        for words, said in [
            (["--existing", "overwrite", "-f", "csv", photo], f"--existing {idle} --format txt|xmp|embed"),
            (["--existing", "skip", photo], f"--existing {idle} --format txt|xmp|embed"),
            (["--ext", "caption", "-f", "html", photo], f"--ext {idle} --format txt|xmp"),
            (["--ext", "caption", "-f", "embed", photo], f"--ext {idle} --format txt|xmp"),
            (["--details", photo], f"--details {idle} --format jsonl"),
            (["-n", "2", "-f", "csv", photo], f"--n-best {idle} --format text|jsonl|html"),
            (["-0", photo], f"--null {idle} --files-from or --dry-run"),
            (["--exclude", "*_thumb.*", photo], f"--exclude {idle} a folder or --files-from"),
            (["--include", "*.jpg", photo], f"--include {idle} a folder or --files-from"),
            (["--watch", photo], f"--watch {idle} a folder"),
            (["--feature-cache-size", "5", photo], f"--feature-cache-size {idle} --feature-cache"),
            (["eval", "--feature-cache-size", "5", "data"], f"--feature-cache-size {idle} --feature-cache"),
            (["--packed-cache", "cache", photo], f"--packed-cache {idle} --dtype bf16|int8|int4"),
            (["video", "--packed-cache", "cache", "--dtype", "f32", "clip"], f"--packed-cache {idle} --dtype bf16|int8|int4"),
            (["quantize", "--split", "val", "model", "-o", "x"], f"--split {idle} --data"),
            (["quantize", "--keep", "*", "--to", "bf16", "model", "-o", "x"], f"--keep {idle} --to int8|int4"),
            (["explain", "--n-best", "2", photo], "unknown option --n-best"),
            (["video", "--n-best", "2", "clip"], "unknown option --n-best"),
            (["video", "--lenient", "clip"], "unknown option --lenient"),
        ]:
            self.assertEqual(run(*words, model=None, env={"LOOKSAY_MODEL": str(self.work / "none")})[:2], (USAGE, ""), words)
            self.assertIn(said, run(*words, model=None)[2], words)
        named = {"LOOKSAY_EXISTING": "append", "LOOKSAY_DETAILS": "1", "LOOKSAY_NULL": "1", "LOOKSAY_FEATURE_CACHE_SIZE": "5"}
        self.assertEqual(run(photo, env=named, check=OK), run(photo, check=OK))
        self.assertIn("examples:", run("--details", "--help", model=None, check=OK)[1])
        for words in (["-n", "2", "--beams", "2"], ["-f", "html", "-n", "2"], ["-f", "txt", "--ext", "caption"]):
            run(*words, self.photos("wide.jpg"), check=OK)

    def test_options_that_the_search_cannot_serve(self):
        for words in (["--n-best", "4", "--beams", "2"], ["--prompt", "word " * 500]):
            status, out, err = run(*words, PHOTOS / "wide.jpg", PHOTOS / "tall.png")
            self.assertEqual((status, out), (USAGE, ""), words)
            self.assertEqual(err.count("\n"), 1, err)

    def test_every_option_has_its_twin(self):
        photo = PHOTOS / "wide.jpg"
        flag = run("--beams", "2", "--format", "jsonl", "--details", photo, check=OK)[1]
        twin = run(photo, env={"LOOKSAY_BEAMS": "2", "LOOKSAY_FORMAT": "jsonl", "LOOKSAY_DETAILS": "1"}, check=OK)[1]
        without = [{k: v for k, v in rows_of(text)[0].items() if k not in ("ms", "timings")} for text in (flag, twin)]
        self.assertEqual(without[0], without[1])
        status, _, err = run(photo, env={"LOOKSAY_BEAMS": "x"})
        self.assertEqual(status, USAGE)
        self.assertIn("LOOKSAY_BEAMS", err)
        wins = run("--format", "text", photo, env={"LOOKSAY_FORMAT": "csv"}, check=OK)[1]
        self.assertNotIn("status", wins)
        run("info", MODEL, model=None, env={"LOOKSAY_FORMAT": "jsonl"}, check=OK)

    def test_model_from_the_environment(self):
        run(PHOTOS / "wide.jpg", model=None, env={"LOOKSAY_MODEL": str(MODEL)}, check=OK)

    def test_short_options_and_double_dash(self):
        folder = self.photos("wide.jpg")
        os.rename(folder / "wide.jpg", folder / "-odd.jpg")
        a = run("-b2", "-fjsonl", "--", "-odd.jpg", cwd=folder, model=None, env={"LOOKSAY_MODEL": str(MODEL)}, check=OK)
        self.assertEqual(rows_of(a[1])[0]["image"], "-odd.jpg")

    def test_manual_names_every_option(self):
        manual = (ROOT / "apps/cli/looksay.1").read_text(encoding="utf-8").replace("\\-", "-")
        for command in ("caption", "video", "info", "verify", "eval", "convert", "quantize", "bench", "doctor"):
            for option in re.findall(r"--[a-z][a-z-]+", run(command, "--help", model=None, check=OK)[1].split("examples:")[0]):
                self.assertIn(option, manual)

    def test_completions(self):
        script = run("completion", "bash", model=None, check=OK)[1]
        path = self.work / "completion"
        path.write_text(script + "\nCOMP_WORDS=(looksay caption --be)\nCOMP_CWORD=2\n_looksay\necho \"${COMPREPLY[*]}\"\n")
        done = subprocess.run(["bash", str(path)], capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("--beams\n", ""))
        self.assertIn("complete -c looksay", run("completion", "fish", model=None, check=OK)[1])


class Output(TestCase):
    def test_text_of_one_photo_is_the_caption_alone(self):
        _, out, err = run(PHOTOS / "wide.jpg", check=OK)
        self.assertEqual((out.count("\n"), err), (1, ""))
        self.assertNotIn("wide.jpg", out)

    def test_text_of_several_names_them(self):
        _, out, _ = run(PHOTOS / "wide.jpg", PHOTOS / "tall.png", check=OK)
        lines = out.split("\n")  # a random model's words may hold other line separators
        self.assertEqual([line.split(": ")[0] for line in lines], [f"{PHOTOS}/wide.jpg", f"{PHOTOS}/tall.png", ""])

    def test_jsonl(self):
        _, out, _ = run("--format", "jsonl", "--details", "--beams", "3", "--n-best", "2", PHOTOS / "wide.jpg", check=OK)
        row, = rows_of(out)
        self.assertEqual(row["image"], str(PHOTOS / "wide.jpg"))
        self.assertEqual((row["status"], row["model"], row["size"]), ("ok", "vit-gpt2-bin", [160, 90]))
        self.assertEqual(len(row["tokens"]), len(row["logprobs"]))
        self.assertTrue(all(p <= 0 for p in row["logprobs"]))
        self.assertEqual(len(row["alternatives"]), 2)
        self.assertGreaterEqual(row["alternatives"][0]["score"], row["alternatives"][1]["score"])
        self.assertEqual(row["alternatives"][0]["caption"], row["caption"])
        self.assertGreaterEqual(row["ms"], row["timings"]["encode_ms"])

    def test_csv(self):
        bad = self.work / 'quote " comma , line\n.jpg'
        bad.write_bytes(b"no image")
        status, out, _ = run("--format", "csv", PHOTOS / "wide.jpg", bad)
        self.assertEqual(status, SOME_FAILED)
        rows = list(csv.reader(io.StringIO(out, newline="")))
        self.assertEqual(rows[0], ["image", "caption", "score", "status", "error", "confidence"])
        self.assertEqual((rows[1][3], rows[2][0], rows[2][3]), ("ok", str(bad), "error"))
        self.assertEqual(len(rows), 3)

    def test_sidecars(self):
        folder = self.photos("wide.jpg", "tall.png")
        (folder / "tall.txt").write_text("mine\n")
        _, out, err = run("--format", "txt", folder, check=OK)
        self.assertEqual(out, "")
        self.assertIn("1 of 2", err)
        said = (folder / "wide.txt").read_text()
        self.assertEqual((folder / "tall.txt").read_text(), "mine\n")
        run("--format", "txt", "--existing", "append", folder / "tall.png", check=OK)
        tall = (folder / "tall.txt").read_text().splitlines()
        self.assertEqual((len(tall), tall[0]), (2, "mine"))
        run("--format", "txt", "--existing", "prepend", folder / "wide.jpg", check=OK)
        self.assertEqual((folder / "wide.txt").read_text(), said * 2)
        run("--format", "txt", "--existing", "overwrite", folder, check=OK)
        self.assertEqual((folder / "wide.txt").read_text(), said)
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["tall.png", "tall.txt", "wide.jpg", "wide.txt"])

    def test_output_file_appears_whole(self):
        target = self.work / "out.jsonl"
        target.write_text("old")
        status, out, _ = run("-f", "jsonl", "-o", target, PHOTOS / "wide.jpg", self.work / "none.jpg")
        self.assertEqual((status, out), (SOME_FAILED, ""))
        self.assertEqual([r["status"] for r in rows_of(target.read_text())], ["ok", "error"])
        self.assertFalse((self.work / "out.jsonl.part").exists())

    def test_output_that_cannot_be_written(self):
        status, out, err = run("-o", self.work / "none" / "out", PHOTOS / "wide.jpg")
        self.assertEqual((status, out), (OUTPUT, ""))
        self.assertIn("none/out", err)
        if os.path.exists("/dev/full"):
            for words in (["-o", "/dev/full"], ["-f", "jsonl", "-o", "/dev/full"]):
                status, _, err = run(*words, PHOTOS / "wide.jpg")
                self.assertEqual(status, OUTPUT, err)
                self.assertIn("No space left", err)

    def test_full_disk_keeps_the_rows_before(self):
        """A file size limit stands in for a full disk: both fail a write in the middle of a row."""
        script = ("import resource, os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
                  "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); os.execv(sys.argv[1], sys.argv[1:])")
        target = self.work / "out.jsonl"
        words = [sys.executable, "-c", script, LOOKSAY, "-f", "jsonl", "-o", str(target), "--model", str(MODEL)]
        done = subprocess.run(words + [str(PHOTOS / "wide.jpg")] * 20, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, OUTPUT, done.stderr)
        self.assertIn("File too large", done.stderr)
        part = Path(str(target) + ".part").read_text()
        self.assertGreaterEqual(len(rows_of(part)), 2)
        self.assertTrue(part.endswith("}\n"))
        self.assertFalse(target.exists())

    def test_same_caption_whatever_the_threads_and_the_company(self):
        alone = [run("-f", "jsonl", "--details", "-t", t, PHOTOS / "tall.png", check=OK)[1] for t in ("1", "2", "3")]
        company = run("-f", "jsonl", "--details", "--beams", "1", PHOTOS / "wide.jpg", PHOTOS / "tall.png", check=OK)[1]
        rows = [rows_of(text)[-1] for text in alone + [company]]
        for row in rows[1:3]:
            self.assertEqual((row["tokens"], row["logprobs"]), (rows[0]["tokens"], rows[0]["logprobs"]))
        again = run("-f", "jsonl", "--details", "--beams", "1", PHOTOS / "tall.png", check=OK)[1]
        self.assertEqual(rows_of(again)[0]["logprobs"], rows[3]["logprobs"])


class Inputs(TestCase):
    def test_folder_in_order_and_recursive(self):
        folder = self.photos("wide.jpg", "tall.png", "grey.jpg")
        (folder / "notes.md").write_text("no image")
        (folder / ".hidden.jpg").write_bytes(b"")
        (folder / "more").mkdir()
        shutil.copy(PHOTOS / "tiny.png", folder / "more" / "A.PNG")
        os.symlink(folder, folder / "more" / "loop")
        flat = [r["image"] for r in rows_of(run("-f", "jsonl", str(folder) + "/", check=OK)[1])]
        self.assertEqual(flat, [f"{folder}/{n}" for n in ("grey.jpg", "tall.png", "wide.jpg")])
        deep = [r["image"] for r in rows_of(run("-r", "-f", "jsonl", folder, check=OK)[1])]
        self.assertEqual(deep, [f"{folder}/{n}" for n in ("grey.jpg", "more/A.PNG", "tall.png", "wide.jpg")])

    def test_standard_input(self):
        image = (PHOTOS / "wide.jpg").read_bytes()
        piped = run("-f", "jsonl", "--details", "-", stdin=image, check=OK)[1]
        named = run("-f", "jsonl", "--details", PHOTOS / "wide.jpg", check=OK)[1]
        self.assertEqual(rows_of(piped)[0]["logprobs"], rows_of(named)[0]["logprobs"])
        self.assertEqual(rows_of(piped)[0]["image"], "-")
        status, _, err = run("-", stdin=b"")
        self.assertEqual(status, SOME_FAILED)
        self.assertIn("standard input is empty", err)

    def test_lists(self):
        names = [str(PHOTOS / n) for n in ("wide.jpg", "tall.png")]
        listing = self.work / "list"
        listing.write_text("\r\n".join(names) + "\r\n\n")
        self.assertEqual([r["image"] for r in rows_of(run("-f", "jsonl", "--files-from", listing, check=OK)[1])], names)
        zeros = "\0".join(names).encode()
        piped = run("-f", "jsonl", "--files-from", "-", "-0", stdin=zeros, check=OK)[1]
        self.assertEqual([r["image"] for r in rows_of(piped)], names)
        status, _, err = run("--files-from", self.work / "none")
        self.assertEqual(status, USAGE)
        self.assertIn("none", err)

    def test_bad_inputs_fail_alone(self):
        """Each bad input is one failed row with one clear error; the good ones around it are captioned all the same."""
        good = (PHOTOS / "wide.jpg").read_bytes()
        flipped = bytearray(good)
        flipped[2:4] = b"\x00\x00"
        bad = {
            "empty.jpg": b"",
            "truncated.jpg": good[:len(good) // 2],
            "truncated.png": (PHOTOS / "tall.png").read_bytes()[:200],
            "flipped.jpg": bytes(flipped),
            "text.jpg": b"this is text, not an image at all\n" * 10,
            # the header of a 26,000 x 26,000 PNG, and no more
            "bomb.png": b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000065900000659008020000000f6d8b1f") + b"\0" * 115,
        }
        for name, content in bad.items():
            (self.work / name).write_bytes(content)
        (self.work / "folder.jpg").mkdir()
        (self.work / "folder.jpg" / "x").mkdir()
        os.mkfifo(self.work / "fifo.jpg")
        os.symlink("loop.jpg", self.work / "loop.jpg")
        (self.work / "unreadable.jpg").write_bytes(good)
        os.chmod(self.work / "unreadable.jpg", 0)
        (self.work / "png-inside.jpg").write_bytes((PHOTOS / "tall.png").read_bytes())
        odd = os.fsencode(self.work) + b"/caf\xe9 \n.jpg"
        with open(odd, "wb") as file:
            file.write(good)

        failing = [self.work / n for n in bad] + [self.work / n for n in ("fifo.jpg", "loop.jpg", "missing.jpg")]
        fine = [PHOTOS / "wide.jpg", self.work / "png-inside.jpg", odd, PHOTOS / "tall.png"]
        if os.geteuid() != 0:  # root reads everything
            failing.append(self.work / "unreadable.jpg")
        words = [*fine[:2], *failing, *fine[2:]]
        began = time.monotonic()
        status, out, err = run("--format", "jsonl", *words)
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(status, SOME_FAILED)
        rows = rows_of(out)
        self.assertEqual(len(rows), len(words))
        for word, row in zip(words, rows):
            if word in fine:
                self.assertEqual(row["status"], "ok", row)
                continue
            self.assertEqual(row["status"], "error", row)
            self.assertNotIn("caption", row)
            self.assertIn(word.name, row["error"])
        self.assertIn(f"{len(failing)} of {len(words)} images failed", err)
        reasons = {Path(r["image"]).name: r["error"] for r in rows if r["status"] == "error"}
        for name, reason in {"empty.jpg": "empty", "fifo.jpg": "FIFO", "missing.jpg": "no such file", "bomb.png": "50 megapixels",
                             "text.jpg": "format", "truncated.jpg": "get a whole copy, or take what can be read of it with --lenient"}.items():
            self.assertIn(reason, reasons[name])

        status, out, err = run(*failing)  # as text: nothing on standard output, a line each on standard error
        self.assertEqual((status, out), (SOME_FAILED, ""))
        self.assertEqual(len(err.splitlines()), len(failing) + 1, err)

        if not PORTABLE:  # whose decoder gives a JPEG up when it ends early
            row, = rows_of(run("--format", "jsonl", "--lenient", self.work / "truncated.jpg", check=OK)[1])
            self.assertTrue(row["damaged"])

    def test_empty_folder_is_done(self):
        (self.work / "empty").mkdir()
        self.assertEqual(run(self.work / "empty", check=OK)[1], "")

    def test_interrupt_keeps_what_is_done(self):
        listing, target = self.work / "list", self.work / "out.jsonl"
        listing.write_text(f"{PHOTOS}/wide.jpg\n" * 200000)
        words = [LOOKSAY, "-f", "jsonl", "-o", str(target), "--files-from", str(listing), "--model", str(MODEL)]
        process = subprocess.Popen(words, stderr=subprocess.PIPE)
        part = Path(str(target) + ".part")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 1000):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, INTERRUPTED)
        rows = rows_of(target.read_text())
        self.assertGreater(len(rows), 3)
        self.assertTrue(all(r["status"] == "ok" for r in rows))


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
        rewrite(lambda h: h[name].update(data_offsets=[0, 1 << 60]))
        self.refuse(model, name)
        weights.write_bytes((1 << 62).to_bytes(8, "little") + whole[8:])
        self.refuse(model, "model.safetensors")

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


class Commands(TestCase):
    def test_info(self):
        text = run("info", MODEL, model=None, check=OK)[1]
        self.assertRegex(text, r"(?m)^family +vision-encoder-decoder$")
        info = json.loads(run("info", "--format", "json", check=OK)[1])
        self.assertEqual(info["vision"]["type"], "vit")

    def test_verify(self):
        golden = json.loads((MODEL / "golden.json").read_text())
        golden["cases"] = [c for c in golden["cases"] if not (PORTABLE and c["image"].endswith(".jpg"))]
        same = self.work / "same.json"
        same.write_text(json.dumps(golden))
        _, out, _ = run("verify", "--photos", PHOTOS, same, check=OK)
        self.assertEqual(out.splitlines()[-1].split(" cases")[0], f"{len(golden['cases'])} of {len(golden['cases'])}")
        golden["cases"] = golden["cases"][:2]
        golden["cases"][1]["logprobs"][0] += 0.01
        changed = self.work / "golden.json"
        changed.write_text(json.dumps(golden))
        status, out, _ = run("verify", "--photos", PHOTOS, changed)
        self.assertEqual(status, SOME_FAILED)
        self.assertIn("log-probability 0", out)
        self.assertIn("1 of 2", out)
        golden["cases"][0]["tokens"][0] += 1
        changed.write_text(json.dumps(golden))
        self.assertIn("0 of 2", run("verify", "--photos", PHOTOS, changed)[1])
        self.assertEqual(run("verify", self.work / "none")[0], USAGE)

    def test_eval(self):
        data = self.work / "data.jsonl"
        rows = [{"image": n, "split": s, "captions": ["a b", "c d"]}
                for n, s in (("wide.jpg", "val"), ("tall.png", "train"), ("none.jpg", "val"), ("grey.jpg", "val"))]
        data.write_text("".join(json.dumps(r) + "\n" for r in rows))
        status, out, err = run("eval", "--split", "val", "--photos", PHOTOS, data)
        self.assertEqual(status, SOME_FAILED)
        got = rows_of(out)
        self.assertEqual([r["image"] for r in got], ["wide.jpg", "none.jpg", "grey.jpg"])
        self.assertEqual([r["status"] for r in got], ["ok", "error", "ok"])
        self.assertEqual(got[0]["references"], ["a b", "c d"])
        self.assertIn("2 photos captioned, 1 failed", err)
        limited = rows_of(run("eval", "--limit", "1", "--photos", PHOTOS, data, check=OK)[1])
        self.assertEqual(len(limited), 1)
        target = self.work / "out.jsonl"
        target.write_text("of an earlier run\n")
        status, _, err = run("eval", "--references", "de", "--photos", PHOTOS, data, "-o", target)
        self.assertEqual((status, target.read_text()), (USAGE, "of an earlier run\n"))
        self.assertIn('"de"', err)
        data.write_text("".join(json.dumps(r | ({"de": ["ein Hund"]} if r["image"] == "grey.jpg" else {})) + "\n" for r in rows))
        got = rows_of(run("eval", "--references", "de", "--photos", PHOTOS, data, check=OK)[1])
        self.assertEqual([(r["image"], r["references"]) for r in got], [("grey.jpg", ["ein Hund"])])
        data.write_text(json.dumps(rows[0] | {"captions": "a b"}))
        status, _, err = run("eval", "--photos", PHOTOS, data)
        self.assertEqual(status, USAGE)
        self.assertIn("line 1", err)

    def test_eval_in_batches_is_eval_one_by_one(self):
        names = [p.name for p in sorted(PHOTOS.glob("*.jpg")) + sorted(PHOTOS.glob("*.png"))] + ["none.jpg"]
        lines = [json.dumps({"image": names[i % len(names)], "captions": [f"photo {i}"]}) for i in range(3 * len(names))]
        data = self.work / "data.jsonl"
        data.write_text("\n".join(lines) + "\n")

        def evaluate(*words, status=SOME_FAILED):
            _, out, err = run("eval", "--photos", PHOTOS, data, *words, check=status)
            return [{k: v for k, v in row.items() if k != "ms"} for row in rows_of(out)], err

        alone, said = evaluate("--batch", "1")
        self.assertEqual([row["references"][0] for row in alone], [f"photo {i}" for i in range(len(lines))])
        self.assertEqual([row["status"] for row in alone].count("error"), 3)
        score = re.search("CIDEr [0-9.]+", said).group()
        for words in ([], ["--batch", "5"], ["--batch", "256"]):
            rows, said = evaluate(*words)
            self.assertEqual(rows, alone)
            self.assertIn(score, said)
        self.assertEqual(evaluate("--limit", "7", status=OK)[0], alone[:7])
        data.write_text("\n".join([*lines[:13], "{", *lines[13:]]))  # what comes before a bad line is done
        rows, said = evaluate(status=USAGE)
        self.assertEqual(rows, alone[:13])
        self.assertIn("line 14", said)

    def test_convert_and_quantize(self):
        small = self.work / "small.gguf"
        out = run("quantize", MODEL, "-o", small, model=None, check=OK)[1]
        self.assertRegex(out, r"int8, \d+\.\d MiB -> \d+\.\d MiB \(\d+ %\), \d+ tensors, \d+ packed layers\n$")
        self.assertEqual(json.loads(run("info", "--format", "json", model=small, check=OK)[1])["dtype"], "int8")
        self.assertEqual(json.loads(run("info", "--format", "json", check=OK)[1])["dtype"], "f32")
        self.assertEqual(run("--dtype", "f32", PHOTOS / "wide.jpg", model=small)[0], BAD_MODEL)
        before = small.read_bytes()
        for words, status, says in ((["quantize", small, "-o", small], BAD_MODEL, "int8 weights already"),
                                    (["convert", small, "-o", small], BAD_MODEL, "int8 weights already"),
                                    (["quantize", self.work / "none", "-o", small], BAD_MODEL, "none"),
                                    (["quantize", MODEL, "-o", small, "--keep", "nothing.*"], USAGE, "'nothing.*'"),
                                    (["convert", MODEL], USAGE, "-o"),
                                    (["convert", "-o", small], USAGE, "one model"),
                                    (["convert", MODEL, "-o", small, "--to", "int8"], USAGE, "--to takes"),
                                    (["convert", MODEL, "-o", self.work / "no/such.gguf"], OUTPUT, "cannot be written")):
            got, out, err = run(*words, model=None)
            self.assertEqual((got, out), (status, ""), words)
            self.assertIn(says, err)
        self.assertEqual(small.read_bytes(), before)
        run("convert", MODEL, "-o", small, "--to", "f16", model=None, check=OK)
        self.assertEqual(os.listdir(self.work), ["small.gguf"])
        said = run(PHOTOS / "wide.jpg", model=small, check=OK)[1]
        run("quantize", small, "-o", small, model=None, check=OK)  # over the file that it reads
        self.assertTrue(said and run(PHOTOS / "wide.jpg", model=small, check=OK)[1])

    def test_quantize_and_keep(self):
        small, mixed, halves = (self.work / f"{name}.gguf" for name in ("small", "mixed", "halves"))
        run("quantize", MODEL, "-o", small, model=None, check=OK)
        run("quantize", MODEL, "-o", mixed, "--keep", "encoder.*", model=None, check=OK)
        run("quantize", MODEL, "-o", halves, "--to", "bf16", model=None, check=OK)
        self.assertTrue(small.stat().st_size < mixed.stat().st_size < halves.stat().st_size)
        for words, status in ((["--dtype", "int8"], OK), ([], OK), (["--dtype", "bf16"], BAD_MODEL)):
            self.assertEqual(run(*words, PHOTOS / "wide.jpg", model=mixed)[0], status)

    def test_quantize_with_data(self):
        data, small = self.work / "data.jsonl", self.work / "small.gguf"
        names = [p.name for p in sorted(PHOTOS.glob("*.png"))][:3]
        said = run("--model", MODEL, *(PHOTOS / n for n in names), model=None, check=OK)[1].splitlines()
        data.write_text("".join(json.dumps({"image": n, "captions": [c.split("\t")[-1]]}) + "\n" for n, c in zip(names, said)))
        options = ["--photos", PHOTOS, "--data", data]
        out = run("quantize", MODEL, "-o", small, *options, model=None, check=OK)[1]
        self.assertRegex(out.splitlines()[1], r"^CIDEr \d+\.\d{4} -> \d+\.\d{4} \([-+]\d+\.\d %\)$")
        before = small.read_bytes()
        for words, says in (([*options[:3], self.work / "none"], "none"), ([*options, "--split", "val"], "no row"),
                            ([*options, "--references", "de"], '"de"')):
            status, out, err = run("quantize", MODEL, "-o", small, *words, model=None)
            self.assertEqual((status, out), (USAGE, ""))
            self.assertIn(says, err)
        self.assertEqual(small.read_bytes(), before)

    def test_damaged_int8_model(self):
        good = self.work / "good.gguf"
        run("quantize", MODEL, "-o", good, model=None, check=OK)
        data, bad = good.read_bytes(), self.work / "bad.gguf"
        at = data.index(b".int8_scale")
        changes = {"cut": data[:-100], "cut in half": data[:len(data) // 2], "renamed": data[:at] + b".int8_scalx" + data[at + 11:],
                   "longer": data + bytes(64)}
        for what, changed in changes.items():
            bad.write_bytes(changed)
            status, out, err = run(PHOTOS / "wide.jpg", model=bad)
            self.assertEqual((status, out), (BAD_MODEL, ""), what)
            self.assertIn("bad.gguf", err, what)

    def test_doctor(self):
        _, out, _ = run("doctor", check=SOME_FAILED if PORTABLE else OK)
        self.assertIn("processor", out)
        self.assertNotIn("MISSING model", out)
        checks = json.loads(run("doctor", "--format", "json")[1])
        self.assertTrue(all(c["ok"] for c in checks if c["check"] == "model"))
        self.assertEqual(run("doctor", model=self.work / "none")[0], SOME_FAILED)

    def test_bench(self):
        figures = json.loads(run("bench", "--format", "json", "--repeat", "2", check=OK)[1])
        machine, (model,) = figures["machine"], figures["models"]
        self.assertGreater(machine["f32_gflops"], 0.1)
        self.assertEqual([layer["tokens"] for layer in machine["layers"]], [197, 257, 577])
        for layer in machine["layers"]:  # a busy machine changes a rate by a small factor, a wrong unit by a thousand
            for rate, peak in ((layer["linear_gflops"], machine["f32_gflops"]), (layer["int8_gops"], machine["int8_gops"]),
                               (layer["bf16_gflops"], machine["bf16_gflops"])):
                self.assertTrue(peak / 100 < rate < 10 * peak, (layer, machine))
        self.assertEqual([rows["rows"] for rows in machine["decode_rows"]], [1, 3, 8])
        for rows in machine["decode_rows"]:
            self.assertTrue(all(rows[f"{dtype}_gbps"] > 0.01 for dtype in ("f32", "bf16", "int8", "int4")), rows)
        self.assertEqual((model["tokens"], model["beams"]), (20, 1))
        for part in ("read_ms", "encode_ms", "encode_floor_ms", "decode_ms_per_token", "decode_floor_ms_per_token", "caption_ms",
                     "floor_ms", "greedy_ms", "three_beams_ms", "photos_per_s", "peak_mib"):
            self.assertGreater(model[part], 0, part)
        floor = model["encode_floor_ms"] + 20 * model["decode_floor_ms_per_token"]
        self.assertAlmostEqual(model["floor_ms"] / floor, 1, places=3)  # five digits are printed
        self.assertGreater(model["start_to_caption_ms"], 0)
        self.assertEqual(model["dtype"], "f32")
        self.assertIn(", int8,", run("bench", "--repeat", "1", "--dtype", "int8", PHOTOS / "wide.jpg", check=OK)[1])
        self.assertIn("floor", run("bench", "--repeat", "1", PHOTOS / "wide.jpg", check=OK)[1])


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
        done = subprocess.run([sys.executable, "-c", limits, LOOKSAY, "-m", str(self.model), "--dtype", "int8", "--packed-cache",
                               str(self.cache), str(PHOTOS / "wide.jpg")], capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout.decode().strip()), (OK, plain["caption"]))  # as on a full disk
        self.assertIn(b"going on without a packed model", done.stderr)
        self.assertEqual(self.files(), {})
        (self.cache / "unrelated.gguf").write_bytes(b"")
        self.caption(*words, self.cache)
        self.assertIn("unrelated.gguf", self.files())


class DefaultModel(TestCase):
    """The model that comes with the program, found without being named."""

    @unittest.skipIf("--portable" in sys.argv, "torch saw what libjpeg makes of the photos")
    def test_agrees_with_its_golden_file(self):
        _, out, _ = run("verify", "--photos", ROOT / "assets/photos", ROOT / "assets/golden/looksay.json", model=None, check=OK)
        self.assertRegex(out.splitlines()[-1], r"^(\d+) of \1 cases agree")

    def test_every_photo_gets_words(self):
        photos = sorted((ROOT / "assets/photos").glob("*.jpg"))
        self.assertGreaterEqual(len(photos), 6)
        rows = rows_of(run("-f", "jsonl", ROOT / "assets/photos", model=None, check=OK)[1])
        self.assertEqual([r["image"] for r in rows], [str(p) for p in photos])
        for row in rows:
            self.assertRegex(row["caption"], r"^[a-z0-9' -]+$")
            self.assertGreaterEqual(len(row["caption"].split()), 2)
        self.assertGreater(len({r["caption"] for r in rows}), len(rows) // 2)

    def test_concepts_that_do_not_fit(self):
        good = (ROOT / "assets/model/looksay.gguf").read_bytes()
        bad = self.work / "bad.gguf"
        both = b'"num_concepts":1000,"num_concept_tokens":3'  # what replaces it is as long
        for said, changed in (("vision.concepts.classifier", b'"num_concepts":1001,"num_concept_tokens":3'),
                              ("num_concepts", b'"num_concepts":-100,"num_concept_tokens":3'),
                              ("num_concepts", b'"num_concepts":   2,"num_concept_tokens":3'),
                              ("vision.positions", b'"num_concepts":1000,"num_concept_tokens":4'),
                              ("num_concept_tokens", b'"num_concepts":100,"num_concept_tokens":99')):
            self.assertEqual((good.count(both), len(changed)), (1, len(both)))
            bad.write_bytes(good.replace(both, changed))
            status, out, err = run(ROOT / "assets/photos/china.jpg", model=bad)
            self.assertEqual((status, out), (BAD_MODEL, ""), changed)
            self.assertIn(said, err)

    def test_instruction_sets_say_the_same(self):
        doctor = {c["check"]: c for c in json.loads(run("doctor", "--format", "json", model=None)[1])}
        found = doctor["instruction sets"]["found"]
        others = ["blas"] * doctor["OpenBLAS"]["ok"]
        photo = ROOT / "assets/photos/camera.jpg"
        golden = rows_of(run("-f", "jsonl", "--details", "--isa", "ref", photo, model=None, check=OK)[1])[0]
        tolerance = json.loads((ROOT / "assets/golden/looksay.json").read_text()).get("tolerance", 2e-3)
        for isa in others + [i for i in ("avx2", "avx512") if i in found.lower().replace("-", "")]:
            row = rows_of(run("-f", "jsonl", "--details", "--isa", isa, photo, model=None, check=OK)[1])[0]
            self.assertEqual(row["tokens"], golden["tokens"], isa)
            for a, b in zip(row["logprobs"], golden["logprobs"]):
                self.assertLess(abs(a - b), tolerance, isa)

    def test_words_can_be_banned_and_asked_for(self):
        photo = ROOT / "assets/photos/astronaut.jpg"
        caption = run(photo, model=None, check=OK)[1].strip()
        word = caption.split()[1]
        self.assertNotIn(word, run("--ban", word, photo, model=None, check=OK)[1].split())
        self.assertIn("rocket", run("--must", "rocket", "--beams", "4", photo, model=None, check=OK)[1].split())

    def test_samples_repeat_with_their_seed(self):
        photo = ROOT / "assets/photos/astronaut.jpg"
        one, two = (run("--seed", "7", "--temperature", "1.5", photo, model=None, check=OK)[1] for _ in range(2))
        self.assertEqual(one, two)
        others = {run("--seed", str(i), "--temperature", "1.5", photo, model=None, check=OK)[1] for i in range(6)}
        self.assertGreater(len(others), 1)


if __name__ == "__main__":
    LOOKSAY = os.path.abspath(sys.argv.pop(1))
    if "--portable" in sys.argv:
        sys.argv.remove("--portable")
        PORTABLE = True
    unittest.main(verbosity=1)
