"""The image of a set of locked packages: its name, and how it is built."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from container.engine import Engine
from stgcn_onnx.errors import EnvironmentFault, UsageError

VARIANTS = ("cpu", "gpu")
REPOSITORY = "localhost/stgcn-onnx"
DOCKERFILE = Path("docker/Dockerfile")
_DIGITS = 12
# Certificate bundles that pip and OpenSSL are told of by their usual names.
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class BuildOptions:
    """What may differ from build to build of the same image.

    Args:
        base_image: instead of the Dockerfile's default.
        wheels: a folder of wheels, to build without a network.
    """

    base_image: str | None = None
    wheels: Path | None = None


def sources(root: Path, variant: str) -> tuple[Path, ...]:
    """The files that decide what is in an image."""
    names = {f"requirements/{variant}.lock", "requirements/gpu.lock", "requirements/openmmlab.lock"}
    return (root / DOCKERFILE, root / "requirements/install.sh", *(root / name for name in sorted(names)))


def reference(root: Path, variant: str) -> str:
    """Name and tag of the image; the tag is a digest of the lock files and the Dockerfile.

    Raises:
        UsageError: for a variant that does not exist.
        EnvironmentFault: when one of those files is missing.
    """
    if variant not in VARIANTS:
        raise UsageError(f"--variant {variant}: there is no such image", hint=f"give one of: {', '.join(VARIANTS)}")
    digest = hashlib.sha256()
    try:
        for path in sources(root, variant):
            digest.update(f"{path.relative_to(root)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    except FileNotFoundError as error:
        raise EnvironmentFault(
            f"{error.filename} is missing, without which no image has a name", hint="use a complete checkout"
        ) from error
    return f"{REPOSITORY}:{variant}-{digest.hexdigest()[:_DIGITS]}"


def built_variants(root: Path, engine: Engine) -> list[str]:
    """The variants whose image for these lock files the engine has; none where the checkout is not complete."""
    try:
        return [variant for variant in VARIANTS if engine.has_image(reference(root, variant))]
    except EnvironmentFault:
        return []


def build(root: Path, variant: str, engine: Engine, options: BuildOptions) -> str:
    """Build the image, run it once, and return its reference; the engine's log goes to stderr.

    Raises:
        UsageError: a wrong variant, or a folder without wheels.
        EnvironmentFault: the build fails, or the image does not run.
    """
    name = reference(root, variant)
    wheels = _wheel_arguments(engine, options.wheels) if options.wheels else ()
    command = build_command(root, variant, engine, options, wheels)
    # The classic builder of docker knows no mounts.
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    code = subprocess.run(command, cwd=root, env=environment, stdout=sys.stderr, check=False).returncode
    if code:
        raise EnvironmentFault(
            f"image {name}: `{engine.name} build` failed with code {code}, see above",
            hint="name a base image that is there with --base-image, and without a network --wheels FOLDER",
        )
    started = engine.ask("run", "--rm", "--pull=never", "--network=none", "--read-only", name, "-c", "import torch")
    if started.code:
        engine.ask("rmi", "--force", name)
        raise EnvironmentFault(
            f"image {name} was built with {engine.name}, but does not run: {started.complaint}",
            hint="run `invoke doctor`; the image was removed",
        )
    return name


def build_command(
    root: Path, variant: str, engine: Engine, options: BuildOptions, wheels: tuple[str, ...]
) -> list[str]:
    """The command line of a build."""
    arguments = {"VARIANT": variant, "VERSION": version(root), "REVISION": revision(root)}
    if options.base_image:
        arguments["BASE_IMAGE"] = options.base_image
    given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    bundle = next((os.environ[name] for name in _CERTIFICATES if Path(os.environ.get(name, "")).is_file()), None)
    secret = [f"--secret=id=ca,src={bundle}"] if bundle and not wheels else []
    file = f"--file={DOCKERFILE}"
    return [engine.name, "build", file, f"--tag={reference(root, variant)}", *given, *wheels, *secret, "."]


def _wheel_arguments(engine: Engine, folder: Path) -> tuple[str, ...]:
    """Let a build take its wheels from `folder`, without a network.

    Podman mounts the folder. Docker does so only with the buildx plugin, so there the folder becomes an image.
    """
    digest = wheels_digest(folder)
    offline = ("--network=none", f"--build-arg=WHEELS_ID={digest}")
    if engine.name == "podman":
        return (*offline, f"--build-context=wheels={folder.resolve()}")
    name = f"{REPOSITORY}-wheels:{digest}"
    if not engine.has_image(name):
        with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as tar:
            imported = subprocess.run(
                [engine.name, "import", "-", name], stdin=tar.stdout, stdout=sys.stderr, check=False
            )
        if tar.returncode or imported.returncode:
            raise EnvironmentFault(f"--wheels {folder}: {engine.name} cannot import it", hint="run `invoke doctor`")
    return (*offline, f"--build-arg=WHEELS_IMAGE={name}")


def wheels_digest(folder: Path) -> str:
    """A digest of the names and sizes of the wheels in a folder: layer caches do not look inside.

    Raises:
        UsageError: when there is no wheel.
    """
    found = sorted((path.name, path.stat().st_size) for path in folder.glob("*.whl"))
    if not found:
        raise UsageError(
            f"--wheels {folder}: no wheel is there",
            hint="fill it with `pip download --only-binary=:all: -d FOLDER -r requirements/cpu.lock`, and the same "
            "with --no-deps for requirements/openmmlab.lock",
        )
    return hashlib.sha256(repr(found).encode()).hexdigest()[:_DIGITS]


def version(root: Path) -> str:
    """The project's version."""
    import tomllib  # not in Python 3.10, with which the doctor runs as well

    project: dict[str, str] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["version"]


def revision(root: Path) -> str:
    """The commit that is checked out, with `-dirty` where files differ from it; `unknown` outside git."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
