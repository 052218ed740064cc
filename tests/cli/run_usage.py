#!/usr/bin/env python3
"""Arguments: what is understood, what is refused and how, help, completions.

    run_usage.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import os
import re
import subprocess

import program
from program import MODEL, OK, PHOTOS, ROOT, USAGE, TestCase, rows_of, run


class Usage(TestCase):
    def test_no_arguments_is_usage(self):
        status, out, err = run(model=None)
        self.assertEqual((status, out), (USAGE, ""))
        self.assertIn("usage:", err)

    def test_help_and_version_go_to_standard_output(self):
        for words in (["--help"], ["help"], ["-h"], ["caption", "--help"], ["help", "bench"], ["eval", "-h"], ["help", "help"]):
            _, out, err = run(*words, model=None, check=OK)
            self.assertIn("examples:", out, words)
            self.assertEqual(err, "", words)
        self.assertRegex(run("--version", model=None, check=OK)[1], r"^looksay \d+\.\d+\.\d+\n$")

    def test_mistakes_are_named(self):
        photo = PHOTOS / "wide.jpg"
        for words, said in [
            (["--beems", "3", photo], "unknown option --beems; did you mean --beams?"),
            (["--beam=3", photo], "unknown option --beam=3; did you mean --beams?"),
            (["explain", "--lenght-penalty", "1", photo], "did you mean --length-penalty?"),
            (["info", "--beem", "3"], "'looksay info --help' lists those it takes"),
            (["captoin", photo], "captoin: neither a command nor a file; did you mean 'looksay caption'?"),
            (["help", "quantise"], "no command is called 'quantise'; did you mean quantize?"),
            (["help", "weather"], "'looksay --help' lists them"),
            (["doctor", photo], "--model names the model"),
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
            (["-o", "", photo], "-o needs a value: FILE"),
            (["--lang=", photo], "--lang= needs a value: CODE"),
            (["--files-from", PHOTOS], "is a folder; --files-from takes a file of lines"),
            (["--min-tokens", "9", "--max-tokens", "8", photo], "min-tokens 9 is more than max-tokens 8"),
            (["--must", "a", "--sample", photo], "not where tokens are drawn at random"),
            (["--must", ",".join("abcdefghijklmnopq"), photo], "at most 16 words and phrases can be required, not 17"),
            (["--format", "txt", "-o", "x", photo], "beside the photos"),
        ]:
            model = None if words[0] in ("--beams", "completion", "help") and len(words) < 3 else MODEL
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
            (["quantize", "--split", "val", "model", "-o", "x"], f"--split {idle} --data or --calibrate"),
            (["quantize", "--keep", "*", "--to", "bf16", "model", "-o", "x"], f"--keep {idle} --to int8|int4"),
            (["quantize", "--calibrate", "data", "--to", "bf16", "model", "-o", "x"], f"--calibrate {idle} --to int8|int4"),
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

    def test_an_option_that_the_search_of_this_model_does_not_need_is_refused(self):
        photo = PHOTOS / "wide.jpg"
        for words, said in [
            (["--length-penalty", "2", "--beams", "1", photo], "--length-penalty does nothing without beam search"),
            (["explain", "--length-penalty", "2", "--sample", photo], "--length-penalty does nothing without beam search"),
            (["eval", "--length-penalty", "2", "-b1", "--photos", PHOTOS, self.data()], "--length-penalty does nothing"),
            (["--sample", "--beams", "3", photo], "--beams does nothing where tokens are drawn at random"),
            (["bench", "--seed", "1", "--beams", "3", photo], "--beams does nothing where tokens are drawn at random"),
        ]:
            status, out, err = run(*words)
            self.assertEqual((status, out, err.count("\n")), (USAGE, "", 1), words)
            self.assertIn(said, err, words)
        plain = run("-b1", photo, check=OK)[1]
        self.assertEqual(run("-b1", photo, env={"LOOKSAY_LENGTH_PENALTY": "2"}, check=OK), (OK, plain, ""))
        run("--sample", photo, env={"LOOKSAY_BEAMS": "3"}, check=OK)
        for words in (["--length-penalty", "2", "-b2"], ["--length-penalty", "2", "-b1", "--must", "a"], ["--sample", "-b1"]):
            run(*words, photo, check=OK)

    def data(self):
        path = self.work / "data.jsonl"
        path.write_text('{"image": "wide.jpg", "captions": ["a photo"]}\n', encoding="utf-8")
        return path

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
        slip = run(photo, env={"LOOKSAY_BEMAS": "2", "LOOKSAY_HOME": "/", "LOOKSAY_BEAMS": "2"}, check=OK)[2]
        self.assertEqual(slip, "looksay: LOOKSAY_BEMAS in the environment does nothing; did you mean LOOKSAY_BEAMS?\n")
        wins = run("--format", "text", photo, env={"LOOKSAY_FORMAT": "csv"}, check=OK)[1]
        self.assertNotIn("status", wins)
        run("info", MODEL, model=None, env={"LOOKSAY_FORMAT": "jsonl"}, check=OK)

    def test_twins_of_flags(self):
        photo = PHOTOS / "wide.jpg"
        listed = run("--dry-run", photo, check=OK)
        for value in ("1", "true", "YES", "on"):
            self.assertEqual(run(photo, env={"LOOKSAY_DRY_RUN": value}, check=OK), listed, value)
        for value in ("0", "false", "No", "OFF", ""):
            self.assertNotEqual(run(photo, env={"LOOKSAY_DRY_RUN": value}, check=OK), listed, value)
        status, out, err = run(photo, env={"LOOKSAY_DRY_RUN": "maybe"})
        self.assertEqual((status, out), (USAGE, ""))
        self.assertIn("LOOKSAY_DRY_RUN takes 0 or 1, false or true", err)

    def test_help_shows_every_value(self):
        self.assertIn("|neon|neon-dotprod\n", run("caption", "--help", model=None, check=OK)[1])

    def test_model_from_the_environment(self):
        run(PHOTOS / "wide.jpg", model=None, env={"LOOKSAY_MODEL": str(MODEL)}, check=OK)

    def test_white_space_at_a_prompts_end_does_not_count(self):
        photo = PHOTOS / "wide.jpg"
        self.assertEqual(run("--prompt", "a red \t ", photo, check=OK), run("--prompt", "a red", photo, check=OK))
        for nothing in ("", "  "):
            self.assertEqual(run("--prompt", nothing, photo, check=OK), run(photo, check=OK))

    def test_short_options_and_double_dash(self):
        folder = self.photos("wide.jpg")
        os.rename(folder / "wide.jpg", folder / "-odd.jpg")
        a = run("-b2", "-fjsonl", "--", "-odd.jpg", cwd=folder, model=None, env={"LOOKSAY_MODEL": str(MODEL)}, check=OK)
        self.assertEqual(rows_of(a[1])[0]["image"], "-odd.jpg")

    def test_manual_names_every_option(self):
        manual = (ROOT / "apps/cli/looksay.1").read_text(encoding="utf-8").replace("\\-", "-")
        for command in ("caption", "explain", "video", "translate", "fill", "info", "verify", "eval", "convert", "quantize", "bench", "doctor"):
            for option in re.findall(r"--[a-z][a-z-]+", run(command, "--help", model=None, check=OK)[1].split("examples:")[0]):
                self.assertIn(option, manual)

    def test_completions(self):
        script = run("completion", "bash", model=None, check=OK)[1]
        path = self.work / "completion"
        for words, offered in (("caption --be", "--beams"), ("video --format ", "srt vtt jsonl clip"), ("info -f j", "json"), ("--be", "--beams")):
            path.write_text(f'{script}\nCOMP_WORDS=(looksay {words} ""); COMP_CWORD={len(words.split(" "))}\n_looksay\n'
                            'echo "${COMPREPLY[*]}"\n')
            done = subprocess.run(["bash", str(path)], capture_output=True, text=True)
            self.assertEqual((done.stdout, done.stderr), (f"{offered}\n", ""))
        fish = run("completion", "fish", model=None, check=OK)[1]
        self.assertRegex(fish, r"(?m)^complete -c looksay -n 'not __fish_seen_subcommand_from explain .*' -l beams -r$")
        self.assertIn("-l format -x -a 'srt vtt jsonl clip'\n", fish)


if __name__ == "__main__":
    program.main()
