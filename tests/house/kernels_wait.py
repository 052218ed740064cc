#!/usr/bin/env python3
"""Every GPU kernel lets the next one start and waits for the one before it: one that forgets either reads what is not there yet, on GPUs
that start kernels early, now and then.

usage: kernels_wait.py ROOT        exit 1 and one line per kernel that does not
       kernels_wait.py --self-test   prove that every kind of offence is found

A kernel begins with lks_begin(); or with lks_let_next_start();, and has lks_wait_for_previous(); further down, before it reads what
kernels make. It does not return before that.
"""
import re
import sys
import tempfile
from pathlib import Path

KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\((?:[^()]|\([^()]*\))*\)\s*([{;])")


def body_of(text, opening):
    """What the braces that open there hold."""
    depth, at = 0, opening
    while at < len(text):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[opening + 1:at]
        at += 1
    return text[opening + 1:]


def fault(body):
    """What is wrong with a kernel, or None."""
    body = body.strip()
    if body.startswith("lks_begin();"):
        return None
    if not body.startswith("lks_let_next_start();"):
        return "does not begin with lks_begin() or lks_let_next_start()"
    before, waits, _ = body.partition("lks_wait_for_previous();")
    if not waits:
        return "never waits for the kernel before it"
    return "may return before it waits" if re.search(r"\breturn\b", before) else None


def faults(root):
    """Yields "file:line: what is wrong", and counts the kernels: (lines, n)."""
    lines, n = [], 0
    for path in sorted((root / "fusion/cuda").rglob("*.cu*")):
        text = path.read_text(encoding="utf-8")
        found = list(KERNEL.finditer(text))
        if len(found) != text.count("__global__"):
            lines.append(f"{path.relative_to(root)}: a kernel that this test cannot read")
        for match in found:
            if match.group(2) == ";":
                continue
            n += 1
            wrong = fault(body_of(text, match.start(2)))
            if wrong:
                lines.append(f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(1)} {wrong}")
    return lines, n


def self_test():
    files = {
        "good.cu": "__global__ void good(int *y)\n{\n    lks_begin();\n    *y = 1;\n}\n",
        "early.cu": "static __global__ void __launch_bounds__(A *B)\n    early(f (*g)(int), int n)\n{\n    lks_let_next_start();\n"
                    "    int w = n;\n    lks_wait_for_previous();\n    if (w)\n        return;\n}\n",
        "forgets.cuh": "\n__global__ void forgets(int *y)\n{\n    *y = 1;\n    lks_begin();\n}\n",
        "never.cu": "__global__ void never(int *y)\n{\n    lks_let_next_start();\n}\n__global__ void good(int *y)\n{\n    lks_begin();\n}\n",
        "returns.cu": "__global__ void returns(int *y)\n{\n    lks_let_next_start();\n    if (!y) {\n        return;\n    }\n"
                      "    lks_wait_for_previous();\n}\n",
        "odd.cu": "__global__ int *odd;\n",
    }
    expected = ["fusion/cuda/forgets.cuh:2", "fusion/cuda/never.cu:1", "fusion/cuda/odd.cu", "fusion/cuda/returns.cu:1"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "fusion/cuda").mkdir(parents=True)
        for name, text in files.items():
            (root / "fusion/cuda" / name).write_text(text, encoding="utf-8")
        lines, n = faults(root)
    found = sorted(line.split(": ")[0] for line in lines)
    if found != expected or n != 6:
        print(f"expected {expected}\nfound    {found}\nkernels  {n}")
        return 1
    return 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "fusion/cuda").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    lines, n = faults(Path(sys.argv[1]))
    print("\n".join(lines) if lines else f"{n} kernels wait")
    return 1 if lines or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
