#!/usr/bin/env python3
"""Show where the time of an ONNX file goes in onnxruntime on the CPU: by kind of node, by module, node by node."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from stgcn_onnx import cli
from stgcn_onnx.bench.options import not_negative, positive
from stgcn_onnx.console import Log


def command(arguments: argparse.Namespace, log: Log) -> int:
    from stgcn_onnx.bench import profile
    from stgcn_onnx.bench.candidates import present
    from stgcn_onnx.bench.files import require_writable, write_text
    from stgcn_onnx.bench.subject import read_subject
    from stgcn_onnx.bench.tables import show

    if arguments.json:
        require_writable(Path(arguments.json))
    subject = read_subject(Path(arguments.file))
    clips = subject.clips(batch=arguments.batch_size, frames=arguments.num_frames)
    if arguments.people is not None:
        clips = present(clips, arguments.people)
    with log.stage("profiling"):
        found = profile.profile_file(subject, clips, iterations=arguments.iterations, warmup=arguments.warmup)
    log.line("profile", f"{list(clips.sizes())} with {clips.people} people: {found.run_ms:.2f} ms in a run")
    show(
        [
            profile.kinds_table(found),
            profile.modules_table(found, arguments.depth),
            profile.nodes_table(found, arguments.top),
        ]
    )
    if arguments.json:
        write_text(Path(arguments.json), json.dumps(dataclasses.asdict(found), indent=2) + "\n")
    return 0


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    add = parser.add_argument
    add("file", metavar="FILE", help="an ONNX file of this converter")
    add("--batch-size", metavar="N", type=positive, help="clips in a batch, where that axis is free")
    add("--num-frames", metavar="T", type=positive, help="frames in a clip, where that axis is free")
    add("--people", metavar="N", type=not_negative, help="people present; the other slots are empty (default: all)")
    add("--iterations", metavar="N", type=positive, default=20, help="runs that count (default: 20)")
    add("--warmup", metavar="N", type=not_negative, default=5, help="runs before them (default: 5)")
    add("--depth", metavar="N", type=positive, default=3, help="how deep modules are told apart (default: 3)")
    add("--top", metavar="N", type=positive, default=10, help="how many single nodes are shown (default: 10)")
    add("--json", metavar="FILE", help="write all nodes as JSON")
    add("-v", "--verbose", action="store_true", help="show tracebacks")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
