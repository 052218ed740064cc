#!/usr/bin/env python3
"""Runs a test where there is a GPU to run it on; elsewhere it is skipped, exit 77, with the reason.

usage: on_gpu.py LOOKSAY TEST.py [ARGUMENT...]
"""
import json
import subprocess
import sys


def why_not(looksay):
    """Why --device cuda cannot be used here, or None."""
    report = subprocess.run([looksay, "doctor", "--device", "cpu", "--format", "json"], capture_output=True, text=True)
    gpu = next(check for check in json.loads(report.stdout) if check["check"] == "GPU")
    return gpu["found"] if gpu["found"].startswith("not used") else None


if __name__ == "__main__":
    reason = why_not(sys.argv[1])
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    sys.exit(subprocess.run([sys.executable, *sys.argv[2:]]).returncode)
