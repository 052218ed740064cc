#!/usr/bin/env python3
"""Every symbol that one of our libraries shows to a linker starts with lks_.

usage: symbols.py NM LIBRARY...         exit 1 and one line per stray symbol; .so by dynamic, .a by global symbols
       symbols.py NM --self-test CC     prove that strays are found in both kinds of library
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = re.compile(r"lks_\w+$")
# What compilers and linkers add by themselves: sanitizer bookkeeping and section ends.
TOOLCHAIN = re.compile(r"(_*(odr_)?(asan|ubsan|tsan|sanitizer)[._]|_init$|_fini$|_edata$|_end$|__bss_start$)")


def defined(nm, library):
    """The names that `library` defines for others."""
    scope = "-D" if ".so" in Path(library).name else "-g"
    run = subprocess.run([nm, scope, "--defined-only", "-P", library], check=True, capture_output=True, text=True)
    names = [line.split()[0] for line in run.stdout.splitlines() if len(line.split()) >= 2]
    return [re.sub(r"@.*", "", name) for name in names]


def check(nm, libraries):
    """Prints the strays; returns how many there are, or -1 when a library shows nothing at all."""
    strays = 0
    for library in libraries:
        names = [name for name in defined(nm, library) if not TOOLCHAIN.match(name)]
        if not names:
            print(f"{library}: defines nothing")
            return -1
        for name in names:
            if not OURS.match(name):
                print(f"{library}: {name} does not start with lks_")
                strays += 1
    return strays


def self_test(nm, cc):
    source = "int lks_good(void); int lks_good(void) { return 1; }\nint %s = 2;\nstatic int quiet(void) { return 3; }\n" \
             "int lks_use(void); int lks_use(void) { return quiet(); }\n"
    with tempfile.TemporaryDirectory() as folder:
        for name, strays in (("lks_tidy", 0), ("stray", 1)):
            code, shared, static = (f"{folder}/{name}.{end}" for end in ("c", "so", "o"))
            Path(code).write_text(source % name, encoding="utf-8")
            subprocess.run([cc, "-shared", "-fPIC", "-o", shared, code], check=True)
            subprocess.run([cc, "-c", "-o", static, code], check=True)
            for library in (shared, static):
                if check(nm, [library]) != strays:
                    print(f"{library}: expected {strays} strays")
                    return 1
    return 0


def main():
    if len(sys.argv) == 4 and sys.argv[2] == "--self-test":
        return self_test(sys.argv[1], sys.argv[3])
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    strays = check(sys.argv[1], sys.argv[2:])
    if strays == 0:
        print("every symbol starts with lks_")
    return 0 if strays == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
