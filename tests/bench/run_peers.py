#!/usr/bin/env python3
"""apps/bench/peers without its peers: figures, tables and chart of given samples, and a run in which looksay is alone.

    run_peers.py LOOKSAY [TestCase.test_name...]

Standard library only.
"""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

PEERS = Path(__file__).resolve().parents[2] / "apps/bench/peers"
sys.path.insert(0, str(PEERS))
import chart  # noqa: E402
import contest  # noqa: E402
import figures  # noqa: E402
import gpu  # noqa: E402

LOOKSAY = Path()
SVG = "{http://www.w3.org/2000/svg}"


def results():
    """Ours wins in f32, loses in int8 to one of two, and has nobody to compare to in bf16."""
    rows = {
        "looksay f32": {"greedy_ms": [100.0, 90.0, 140.0], "photos_per_s": [20.0]},
        "looksay bf16": {"greedy_ms": [80.0]},
        "looksay int8": {"greedy_ms": [60.0, 50.0]},
        "openvino f32": {"greedy_ms": [200.0, 220.0, 210.0], "photos_per_s": [10.0]},
        "onnxruntime int8-dynamic": {"greedy_ms": [44.0]},
        "onnxruntime int8-static": {"greedy_ms": [70.0]},
    }
    return {"date": "2026-01-02", "machine": "a CPU", "command": "./dev peers", "threads": 2, "versions": {"openvino": "1"},
            "models": {"small": {"measured": {"greedy": "2026-01-02"}, "skipped": {"openvino bf16": "no <bf16> here"}, "rows": rows}}}


class Figures(unittest.TestCase):
    def test_verdicts_take_medians_and_the_best_peer_of_equal_precision(self):
        self.assertEqual(list(figures.verdicts(results())), [
            ("small", "greedy_ms", "f32", 100.0, "openvino f32", 210.0, 2.1),
            ("small", "greedy_ms", "int8", 55.0, "onnxruntime int8-dynamic", 44.0, 0.8),
            ("small", "photos_per_s", "f32", 20.0, "openvino f32", 10.0, 2.0)])

    def test_a_loss_is_named(self):
        said = [line for line in figures.verdict_table(results()).splitlines() if "loses" in line]
        self.assertEqual(said, ["| small | caption, ms | int8 | 55 | onnxruntime | 44 | **0.80: looksay loses** |"])

    def test_the_table_has_every_contestant_its_spread_and_what_was_not_run(self):
        lines = figures.full_table(results()["models"]["small"]).splitlines()
        self.assertIn("| looksay f32 | 100 (90-140) | 20.0 (20.0-20.0) |", lines)
        self.assertIn("| looksay int8 | 55 (50-60) |  |", lines)
        self.assertIn("| openvino bf16 | not run: no <bf16> here |  |", lines)
        self.assertEqual({line.count("|") for line in lines}, {4})

    def test_a_new_run_leaves_nothing_of_an_old_one(self):
        merged = results()
        figures.merge(merged, "small", "greedy", {"looksay f32": {"greedy_ms": [70.0]}}, {}, "2026-02-03")
        part = merged["models"]["small"]
        self.assertEqual({name: row["greedy_ms"] for name, row in part["rows"].items() if "greedy_ms" in row},
                         {"looksay f32": [70.0]})
        self.assertEqual(part["rows"]["openvino f32"], {"photos_per_s": [10.0]})
        self.assertEqual((part["measured"], part["skipped"]), ({"greedy": "2026-02-03"}, {}))


class Chart(unittest.TestCase):
    def test_bars_stand_best_first_in_proportion_to_medians(self):
        root = ElementTree.fromstring(chart.chart(results()))
        names = [text.text for text in root.iter(f"{SVG}text") if text.get("class").startswith("name")]
        widths = [float(bar.get("width")) for bar in root.iter(f"{SVG}rect")]
        self.assertEqual(names, ["onnxruntime int8-dynamic", "looksay int8", "onnxruntime int8-static", "looksay bf16",
                                 "looksay f32", "openvino f32"])
        for width, median in zip(widths, (44, 55, 70, 80, 100, 210), strict=True):
            self.assertAlmostEqual(width / widths[-1], median / 210, places=2)

    def test_everything_lies_inside(self):
        root = ElementTree.fromstring(chart.chart(results()))
        _, _, width, height = map(float, root.get("viewBox").split())
        for bar in root.iter(f"{SVG}rect"):
            self.assertLessEqual(float(bar.get("x")) + float(bar.get("width")), width)
            self.assertLessEqual(float(bar.get("y")) + float(bar.get("height")), height)


class Contest(unittest.TestCase):
    def test_other_tokens_are_refused(self):
        tokens = {"looksay f32": [1, 2], "torch f32": [1, 3], "torch int8": [4, 4]}
        contest.require_equal(tokens, ["looksay f32"])
        with self.assertRaisesRegex(contest.Failed, "looksay f32 and torch f32 disagree"):
            contest.require_equal(tokens, ["looksay f32", "torch f32"])

    def test_a_program_that_fails_is_told_with_its_own_words(self):
        broken = contest.Contestant("broken", [LOOKSAY, "caption", "--model", "/nowhere", "--files-from", "-"])
        with self.assertRaisesRegex(contest.Failed, r"(?s)broken gave no caption of a\.jpg.*nowhere"):
            broken.caption("a.jpg")
        broken.close()

    def test_a_run_of_looksay_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, PEERS / "run.py", LOOKSAY, "--engines", "looksay", "--models", "default", "--rounds",
                                   "1", "--photos", "2", "--threads", "1", "--work", folder], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            model = json.loads((Path(folder) / "peers.json").read_text())["models"]["default"]
            self.assertEqual(set(model["measured"]), {"greedy", "beams", "cold", "folder"})
            self.assertIn("looksay int8", model["rows"])
            for name, row in model["rows"].items():
                for task in figures.TASKS:
                    self.assertEqual(len(row[task]), 1, (name, task))
                    self.assertGreater(row[task][0], 0.0, (name, task))
            for name in (*model["rows"], *model["skipped"]):
                self.assertIn(f"| {name} |", (Path(folder) / "peers.md").read_text())
            ElementTree.parse(Path(folder) / "peers.svg")


class Gpu(unittest.TestCase):
    def test_the_table_says_how_much_better_ours_is_and_what_failed(self):
        rows = [gpu.Row("a product, TFLOP/s", "torch bf16", 800.0), gpu.Row("a photo, ms", "looksay bf16", 5.0),
                gpu.Row("a product, TFLOP/s", "looksay bf16", 400.0, 50.0), gpu.Row("a photo, ms", "transformers f16", 20.0),
                gpu.Row("a photo, ms", "transformers bf16", None, None, "no memory")]
        self.assertEqual(gpu.table(rows).splitlines()[2:], [
            "| a product, TFLOP/s | looksay bf16 | 400 | 50 % |  |",
            "| a product, TFLOP/s | torch bf16 | 800 |  | 0.50 |",
            "| a photo, ms | looksay bf16 | 5 |  |  |",
            "| a photo, ms | transformers f16 | 20 |  | 4.00 |",
            "| a photo, ms | transformers bf16 | failed: no memory |  |  |"])

    def test_one_failure_is_not_all(self):
        results = gpu.Results()
        with results.guard("a photo, ms", "transformers bf16"):
            raise RuntimeError("no memory\nof any kind")
        self.assertEqual(results.rows, [gpu.Row("a photo, ms", "transformers bf16", None, None, "no memory")])


if __name__ == "__main__":
    LOOKSAY = Path(sys.argv[1]).resolve()
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
