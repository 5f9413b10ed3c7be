#!/usr/bin/env python3
"""Build the container image of the locked packages, and print its name.

Runs with any Python 3.11, also where nothing is installed.
"""

import argparse
import sys
from pathlib import Path

from container.engine import ENGINES, Engine, installed, next_step, probe
from container.image import VARIANTS, BuildOptions, build, reference
from stgcn_onnx.doctor import has_nvidia_driver
from stgcn_onnx.errors import INTERRUPTED, ConverterError, EnvironmentFault, UsageError

ROOT = Path(__file__).resolve().parent.parent


def choose_engine(name: "str | None") -> Engine:
    """The engine of that name, or the first that really runs a container.

    Raises:
        UsageError: for an unknown name.
        EnvironmentFault: when it, or every engine, is missing or does not run.
    """
    if name is not None and name not in ENGINES:
        raise UsageError(f"--engine {name} is unknown", hint=f"give one of: {', '.join(ENGINES)}")
    candidates = [engine for engine in installed() if name in (None, engine.name)]
    if not candidates:
        problem = f"{name} is not installed" if name else "no container engine is installed"
        raise EnvironmentFault(problem, hint="install podman or docker")
    problems = {}
    for engine in candidates:
        problems[engine] = probe(engine)
        if not problems[engine]:
            return engine
    engine, problem = next(iter(problems.items()))
    raise EnvironmentFault(
        f"{engine.name}: the client is there, but no container runs: {problem}", hint=next_step(engine, problem)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--variant", metavar="|".join(VARIANTS), help="locked packages (default: gpu where a driver is, else cpu)")
    add("--engine", metavar="|".join(ENGINES), help="default: the first that runs")
    add("--base-image", metavar="NAME", help="image to start from, instead of the Dockerfile's")
    add("--wheels", metavar="FOLDER", type=Path, help="wheels, to build without a network")
    arguments = parser.parse_args()
    try:
        variant = arguments.variant or ("gpu" if has_nvidia_driver() else "cpu")
        reference(ROOT, variant)  # a wrong variant, before any engine is looked for
        options = BuildOptions(arguments.base_image, arguments.wheels)
        print(build(ROOT, variant, choose_engine(arguments.engine), options))
    except ConverterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("error: interrupted, no image was built; run the command again", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
