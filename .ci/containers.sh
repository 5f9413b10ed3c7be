#!/usr/bin/env bash
# Makes a Debian 12 machine ready for the container tests, without a registry of images: podman and a base image from
# Debian's packages, wheels from the package index, and the cpu image built from these offline. Needs .venv, and root
# where podman is not installed. Prints the `export` lines that the tests need; the log is on stderr.
#
#   environment=$(.ci/containers.sh) && eval "$environment"
#
# What is made is kept in ${XDG_CACHE_HOME:-~/.cache}/stgcn-onnx, outside the checkout.
set -euo pipefail
exec 3>&1 1>&2
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/stgcn-onnx/containers
base=localhost/stgcn-onnx-base:bookworm
mkdir -p "$cache"

step() { printf 'containers: %s (%d s)\n' "$*" "$SECONDS"; }

if ! { command -v podman && command -v runc && command -v mmdebstrap; } >/dev/null; then
    step "installing podman"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends podman runc mmdebstrap >/dev/null
fi

# Where a build server limits its processes, podman's defaults fail with 126 although `podman info` succeeds.
cat >"$cache/containers.conf" <<END
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
END
cat >"$cache/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$cache/storage"
runroot = "$cache/run"
END
export CONTAINERS_CONF=$cache/containers.conf CONTAINERS_STORAGE_CONF=$cache/storage.conf

if ! podman image exists "$base"; then
    step "making a base image"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv bookworm - |
        podman import --quiet - "$base"
fi

# One folder for each state of the lock files; the stamp says that a download was complete.
locks=(requirements/cpu.lock requirements/gpu.lock requirements/openmmlab.lock)
wheels=$cache/wheels-$(cat "${locks[@]}" | sha256sum | cut -c 1-12)
if [[ ! -e $wheels/.complete ]]; then
    step "fetching wheels"
    rm -rf "$cache"/wheels-*
    download=(.venv/bin/python -m pip --disable-pip-version-check download -qq --only-binary :all: --dest "$wheels")
    "${download[@]}" --requirement requirements/cpu.lock --constraint requirements/gpu.lock
    "${download[@]}" --requirement requirements/openmmlab.lock --no-deps
    touch "$wheels/.complete"
fi

step "building the image"
make --no-print-directory image VARIANT=cpu ENGINE=podman BASE_IMAGE="$base" WHEELS="$wheels"
step "ready"

printf 'export %s=%q\n' CONTAINERS_CONF "$CONTAINERS_CONF" CONTAINERS_STORAGE_CONF "$CONTAINERS_STORAGE_CONF" >&3
