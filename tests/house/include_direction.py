#!/usr/bin/env python3
"""Includes point one way: apps -> apps/captioner -> {vision, text} -> fusion; vision and text never meet.

usage: include_direction.py ROOT      exit 1 and one line per offence
       include_direction.py --self-test   prove that every kind of offence is found
"""
import re
import sys
import tempfile
from pathlib import Path

ROOMS = ("fusion", "vision", "text", "apps", "tests")
SUFFIXES = {".c", ".h", ".inc", ".cu", ".cuh"}
PUBLIC_HEADER = "apps/captioner/looksay.h"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>|(\w+))', re.MULTILINE)


def allowed(user, target):
    """May the file `user` include the file `target`? Both are paths from the repository root."""
    room = user.split("/")[0]
    if room == "tests":
        return True
    if room in ("fusion", "vision", "text"):
        return target.startswith((room + "/", "fusion/"))
    if user == PUBLIC_HEADER:
        return False
    if user.startswith("apps/captioner/"):
        return target.startswith(("apps/captioner/", "vision/", "text/", "fusion/"))
    own = "/".join(user.split("/")[:2]) + "/"
    rooms = [own] + (["apps/common/", "apps/video/"] if own in ("apps/cli/", "apps/gui/") else [])  # they serve programs
    return target == PUBLIC_HEADER or target.startswith(tuple(rooms))


def offences(root):
    """Yields "file:line: what is wrong" for every include that points the wrong way."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file():
                continue
            user = path.relative_to(root).as_posix()
            text = path.read_text(encoding="utf-8")
            for match in INCLUDE.finditer(text):
                quoted, angled, macro = match.groups()
                where = f"{user}:{text.count(chr(10), 0, match.start()) + 1}"
                if macro:
                    yield f"{where}: include of the macro {macro} hides its direction"
                elif angled == "looksay.h":  # the installed name, as examples write it
                    if not allowed(user, PUBLIC_HEADER):
                        yield f"{where}: may not include <looksay.h>"
                elif angled:
                    if (root / angled).is_file() or (path.parent / angled).is_file():
                        yield f"{where}: <{angled}> is ours: quote it, from the repository root"
                elif ".." in quoted.split("/") or not (root / quoted).is_file():
                    yield f'{where}: "{quoted}" is not a path from the repository root'
                elif not allowed(user, quoted):
                    yield f'{where}: may not include "{quoted}"'


def self_test():
    files = {
        "fusion/ops.h": "#include <math.h>\n",
        "fusion/ops.c": '#include "fusion/ops.h"\n',
        "fusion/up.c": '#include "vision/vit.h"\n',
        "fusion/angle.c": "#include <fusion/ops.h>\n",
        "fusion/beside.c": '#include "ops.h"\n',
        "fusion/dots.c": '#include "fusion/../text/search.h"\n',
        "fusion/macro.c": "#include FUSION_HEADER\n",
        "vision/vit.h": '#include "fusion/ops.h"\n',
        "vision/meets.c": '\n#  include "text/search.h"\n',
        "text/search.h": '#include "fusion/ops.h"\n',
        "text/meets.c": '#include "vision/vit.h"\n',
        "text/installed.c": "#include <looksay.h>\n",
        "text/app.c": '#include "apps/captioner/looksay.h"\n',
        "apps/captioner/looksay.h": "#include <stddef.h>\n",
        "apps/captioner/model.c": '#include "vision/vit.h"\n#include "text/search.h"\n',
        "apps/cli/own.h": "",
        "apps/cli/main.c": '#include "apps/captioner/looksay.h"\n#include "apps/cli/own.h"\n',
        "apps/captioner/example.c": "#include <looksay.h>\n",
        "apps/cli/deep.c": '#include "fusion/ops.h"\n',
        "apps/video/shots.h": '#include "apps/captioner/looksay.h"\n',
        "apps/cli/clip.c": '#include "apps/video/shots.h"\n',
        "apps/video/up.c": '#include "apps/cli/own.h"\n',
        "apps/common/html.h": "",
        "apps/common/up.c": '#include "apps/cli/own.h"\n',
        "apps/gui/page.c": '#include "apps/common/html.h"\n#include "apps/video/shots.h"\n',
        "apps/gui/cross.c": '#include "apps/cli/own.h"\n',
        "tests/unit/any.c": '#include "vision/vit.h"\n#include "text/search.h"\n',
    }
    expected = [
        "apps/cli/deep.c:1",
        "apps/common/up.c:1",
        "apps/gui/cross.c:1",
        "apps/video/up.c:1",
        "fusion/angle.c:1",
        "fusion/beside.c:1",
        "fusion/dots.c:1",
        "fusion/macro.c:1",
        "fusion/up.c:1",
        "text/app.c:1",
        "text/installed.c:1",
        "text/meets.c:1",
        "vision/meets.c:2",
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        found = sorted(line.split(": ")[0] for line in offences(root))
        (root / PUBLIC_HEADER).write_text('#include "fusion/ops.h"\n', encoding="utf-8")
        public = [line for line in offences(root) if line.startswith(PUBLIC_HEADER)]
    if found != expected or len(public) != 1:
        print(f"expected {expected}\nfound    {found}\npublic   {public}")
        return 1
    return 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "fusion").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    found = list(offences(Path(sys.argv[1])))
    print("\n".join(found) if found else "every include points down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
