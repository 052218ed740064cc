#!/usr/bin/env python3
"""The commands beside caption: info, verify, eval, convert, quantize, doctor, bench.

    run_commands.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import array
import json
import os
import re
import shutil

import program
from program import BAD_MODEL, MODEL, OK, OUTPUT, PHOTOS, PORTABLE, ROOT, SANITIZED, SOME_FAILED, USAGE, TestCase, rows_of, run


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
        status, _, err = run("verify", self.work / "none")
        self.assertEqual((status, err), (USAGE, f"looksay: {self.work / 'none'}: No such file or directory; name a golden file\n"))
        same.write_text("{\n]")
        self.assertIn(f"{same}: is no golden file: line 2", run("verify", same)[2])

    def test_verify_looks_beside_the_model(self):
        golden = json.loads((MODEL / "golden.json").read_text())
        golden["cases"] = [c for c in golden["cases"] if not (PORTABLE and c["image"].endswith(".jpg"))][:1]
        one = self.work / "one.gguf"
        run("convert", MODEL, "-o", one, model=None, check=OK)
        self.assertIn(str(self.work / "golden.json"), run("verify", "--photos", PHOTOS, model=one)[2])
        (self.work / "golden.json").write_text(json.dumps(golden))
        for model, folder in ((one, None), ("one.gguf", self.work)):
            self.assertIn("1 of 1", run("verify", "--photos", PHOTOS, model=model, cwd=folder, check=OK)[1])

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
        data.write_text('{"image": "none.jpg", "captions": ["a b"]}\n' * 2)
        status, out, err = run("quantize", MODEL, "-o", small, *options, model=None)
        self.assertEqual((status, out), (SOME_FAILED, ""))
        self.assertIn("none of its photos can be captioned", err)
        self.assertEqual(small.read_bytes(), before)

    @staticmethod
    def scale(tensors, header, name, factor, column):
        """Every number of a channel of inputs, or of a norm."""
        begin, end = header[name]["data_offsets"]
        width = header[name]["shape"][-1]
        numbers = array.array("f", tensors[begin:end])
        numbers[column::width] = array.array("f", [x * factor for x in numbers[column::width]])
        tensors[begin:end] = numbers.tobytes()

    def test_quantize_and_calibrate(self):
        """A channel of the encoder that is 256 times as large as the others drowns them in int8, calibration brings them back."""
        model = self.work / "model"
        shutil.copytree(ROOT / "tests/parity/models/blip-full", model)
        whole = (model / "model.safetensors").read_bytes()
        n = int.from_bytes(whole[:8], "little")
        header, tensors = json.loads(whole[8:8 + n]), bytearray(whole[8 + n:])
        layers = [name[:-len("layer_norm1.weight")] for name in header if name.startswith("vision_model") and name.endswith("layer_norm1.weight")]
        for layer in layers:
            for norm, reader in (("layer_norm1", "self_attn.qkv"), ("layer_norm2", "mlp.fc1")):
                for part in ("weight", "bias"):
                    self.scale(tensors, header, f"{layer}{norm}.{part}", 256, 3)
                self.scale(tensors, header, f"{layer}{reader}.weight", 1 / 256, 3)
        (model / "model.safetensors").write_bytes(whole[:8 + n] + tensors)
        photos = [p for p in sorted(PHOTOS.glob("*.png"))][:3]
        data, plain, calibrated = self.work / "data.jsonl", self.work / "plain.gguf", self.work / "calibrated.gguf"
        data.write_text("".join(json.dumps({"image": str(p), "captions": ["a photo"]}) + "\n" for p in photos))
        options = "--keep", "text_decoder.*"  # rounding there would hide what is looked for
        run("quantize", model, "-o", plain, *options, model=None, check=OK)
        out = run("quantize", model, "-o", calibrated, *options, "--calibrate", data, model=None, check=OK)[1]
        self.assertIn(f"{2 * len(layers)} of them calibrated", out)
        self.assertEqual(sorted(p.name for p in self.work.glob("*.gguf*")), ["calibrated.gguf", "plain.gguf"])
        first = {}
        for which in (model, plain, calibrated):
            rows = rows_of(run("--format", "jsonl", "--details", "--any-picture", *photos, model=which, check=OK)[1])
            first[which] = [row["logprobs"][0] for row in rows]
        off = {which: sum(abs(a - b) for a, b in zip(first[which], first[model])) for which in (plain, calibrated)}
        self.assertLess(off[calibrated], off[plain] / 4)
        mine = self.work / "plain.gguf.calibrated"
        mine.write_text("mine")
        for words, status, says in ((["--calibrate", self.work / "none"], USAGE, "none"),
                                    (["--calibrate", data, "--keep", "nothing*"], USAGE, f"{model}: has no layer"),
                                    (["--calibrate", data, "--split", "val"], USAGE, "no row")):
            done = run("quantize", model, "-o", plain, *words, model=None)
            self.assertEqual(done[:2], (status, ""))
            self.assertIn(says, done[2])
        self.assertEqual(mine.read_text(), "mine")
        self.assertEqual(sorted(p.name for p in self.work.glob("*.gguf*")), ["calibrated.gguf", "plain.gguf", mine.name])
        data.write_text(json.dumps({"image": "missing.png", "captions": ["a photo"]}) + "\n")
        status, out, err = run("quantize", model, "-o", plain, "--calibrate", data, model=None)
        self.assertEqual((status, out), (USAGE, ""))
        self.assertIn("missing.png", err)

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

    def test_bench_without_its_picture_is_no_failure_of_the_model(self):
        status, out, err = run("bench", self.work / "none.jpg")
        self.assertEqual((status, out, err), (SOME_FAILED, "", f"looksay: {self.work / 'none.jpg'}: no such file\n"))

    def test_bench(self):
        figures = json.loads(run("bench", "--format", "json", "--repeat", "2", check=OK)[1])
        machine, (model,) = figures["machine"], figures["models"]
        self.assertGreater(machine["f32_gflops"], 0.1)
        self.assertEqual([layer["tokens"] for layer in machine["layers"]], [197, 257, 577])
        for layer in machine["layers"]:  # a busy machine changes a rate by a small factor, a wrong unit by a thousand
            for rate, peak in ((layer["linear_gflops"], machine["f32_gflops"]), (layer["int8_gops"], machine["int8_gops"]),
                               (layer["bf16_gflops"], machine["bf16_gflops"])):
                slowest = peak / (10_000 if SANITIZED else 100)  # registers are not checked, what goes to memory is
                self.assertTrue(slowest < rate < 10 * peak, (layer, machine))
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


if __name__ == "__main__":
    program.main()
