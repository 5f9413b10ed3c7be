#!/usr/bin/env bash
# Converts one preset: the same as scripts/convert.py --preset PRESET, for shell users.
set -euo pipefail

usage() {
    cat <<'END'
usage: scripts/convert_stgcn_to_onnx.sh PRESET [-d DEVICE] [-o FILE] [-v] [--no-verify] [--benchmark]

  PRESET            realtime, batch, development, custom, gpu, edge, or a path of a preset file
  -d, --device D    cpu (default) or cuda:0
  -o, --output F    the ONNX file to write
  -v, --verbose     each stage with its time
  --no-verify       publish without comparing with PyTorch
  --benchmark       measure PyTorch against the ONNX file afterwards
  -h, --help        this text
END
}

fail() {
    printf 'convert_stgcn_to_onnx.sh: %s; see convert_stgcn_to_onnx.sh --help\n' "$1" >&2
    exit 2
}

preset=
options=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        -d | --device | -o | --output)
            (($# > 1)) || fail "$1 needs a value"
            options+=("$1" "$2")
            shift
            ;;
        -v | --verbose | --no-verify | --benchmark) options+=("$1") ;;
        -*) fail "$1 is not an option" ;;
        *)
            [[ -z $preset ]] || fail "one PRESET is expected, found $preset and $1"
            preset=$1
            ;;
    esac
    shift
done
[[ -n $preset ]] || fail "PRESET is missing"

scripts=$(dirname "${BASH_SOURCE[0]}")
python=$scripts/../.venv/bin/python
[[ -x $python ]] || python=python3
exec "$python" "$scripts/convert.py" --preset "$preset" "${options[@]}"
