#!/usr/bin/env bash
# Writes cpu.lock, gpu.lock, dev.lock and openvino.lock from the .in files: every version exact, no index named in them.
#
#   make lock                            the newest versions that fit together
#   make lock LOCK_ARGS='-P onnx==1.23'  change one package, leave the others
#
# Versions already in a lock file are kept unless --upgrade or -P is given. Only metadata is read.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

compile() {  # compile LOCK IN [OPTION...]
    local lock=$1 input=$2
    shift 2
    uv pip compile --quiet --no-header --no-emit-index-url --no-emit-find-links --no-annotate \
        --strip-extras --only-binary :all: --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --output-file "$lock" "$@" "$input"
}

compile gpu.lock gpu.in "$@"
# The CUDA packages come with the torch of the public index, but not with its CPU build. cpu.lock leaves them out;
# where the CUDA build is what pip finds, gpu.lock pins them as a constraint.
compile cpu.lock cpu.in --constraint gpu.lock "$@"
sed -E -i '/^(nvidia-|cuda-|triton==)/d' cpu.lock
compile dev.lock dev.in --constraint cpu.lock "$@"
compile openvino.lock openvino.in --constraint cpu.lock "$@"
