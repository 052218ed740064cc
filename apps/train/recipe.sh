#!/usr/bin/env bash
# recipe.sh DATA_DIR [OUT_DIR]: the default model from scratch. Each step is skipped when its result is there, and a step
# that was cut off goes on where it was, so run it again after an interruption. The result is OUT_DIR/looksay.gguf.
set -euo pipefail

[ $# -ge 1 ] && [ $# -le 2 ] || {
    echo "usage: $0 DATA_DIR [OUT_DIR]" >&2
    exit 2
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
data=$(cd "$1" && pwd)
out=${2:-$root/build/model}
for part in flickr8k/captions.jsonl labelled/labels.jsonl multi30k/captions.jsonl.gz; do
    [ -f "$data/$part" ] || {
        echo "$0: $data/$part is missing; apps/train/README.md says what DATA_DIR holds" >&2
        exit 1
    }
done
mkdir -p "$out"
out=$(cd "$out" && pwd)

if [ ! -f "$out/venv/complete" ]; then
    python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet -r "$here/requirements.txt"
    touch "$out/venv/complete"
fi
python=$out/venv/bin/python
cd "$here"

"$python" tokenizer.py "$data" "$out"
"$python" features.py "$data" "$out"
[ -f "$out/ema.pt" ] || "$python" train.py "$data" "$out"
"$python" scst.py "$data" "$out"
"$python" export.py "$out/scst.pt" "$out/tokenizer.json" "$out/looksay-f16.gguf"
# The first blocks have few channels and many pixels: quantising their inputs takes longer than int8 saves.
"$root/build/looksay" quantize "$out/looksay-f16.gguf" --keep "stem.blocks.[0-6].*" -o "$out/looksay.gguf"
"$python" confidence.py "$root/build/looksay" "$out/looksay.gguf" "$data" --plot "$out/reliability.png"
echo "done: $out/looksay.gguf"
