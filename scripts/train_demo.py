#!/usr/bin/env python3
"""Train the demo fight model on generated clips, measure it, and write checkpoints/demo/ and its figures.

Trained on the CPU in under half an hour on two cores. With --evaluate-only the committed checkpoint is measured
again, in two or three minutes, and nothing is trained.
"""

import argparse
import os
import sys
from pathlib import Path

# Idle OpenMP threads sleep rather than spin: on a machine that others use as well, spinning costs several times
# the training time. Read once, when torch loads OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from stgcn_onnx import cli
from stgcn_onnx.console import Log

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "checkpoints" / "demo"
WORK_DIR = ROOT / "work_dirs" / "demo"


def command(arguments: argparse.Namespace, log: Log) -> int:
    from stgcn_onnx.demo import Demo, measure, train_and_publish
    from stgcn_onnx.scene.generate import DatasetSize
    from stgcn_onnx.training import Plan

    demo = Demo(folder=arguments.output, readme=arguments.readme)
    size = DatasetSize(arguments.train_clips, arguments.val_clips, arguments.test_clips)
    training = None
    if not arguments.evaluate_only:
        plan = Plan(demo.config, arguments.work_dir, size, arguments.seed, arguments.epochs, not arguments.fp32)
        training = train_and_publish(plan, demo, log)
    print(measure(demo, size, arguments.seed, log, training=training, real_clips=arguments.real_clips))
    return 0


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    add = parser.add_argument
    add("--evaluate-only", action="store_true", help="measure the checkpoint that is there; train nothing")
    add("--real-clips", type=Path, metavar="PKL", help="annotation pickle of real clips to measure on as well")
    add("--work-dir", type=Path, default=WORK_DIR, metavar="DIR", help="for clips and logs (default: work_dirs/demo)")
    add("--output", type=Path, default=DEMO, metavar="DIR", help="folder with the config; the checkpoint goes there")
    add("--readme", type=Path, default=DEMO.parent / "README.md", metavar="FILE", help="file with the figures' markers")
    add("--seed", type=int, default=0, help="of clips, weights and order (default: 0)")
    add("--epochs", type=int, metavar="N", help="default: the config's own")
    add("--fp32", action="store_true", help="train in float32, for processors without bfloat16; twice the work")
    add("--train-clips", type=int, default=9000, metavar="N", help="default: 9000")
    add("--val-clips", type=int, default=360, metavar="N", help="as in training, other seeds (default: 360)")
    add("--test-clips", type=int, default=900, metavar="N", help="held-out scenes (default: 900)")
    add("-v", "--verbose", action="store_true", help="show a traceback for every failure")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
