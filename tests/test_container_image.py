"""The image's name, its build's command line, and what is said when that fails."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from fake_engine import FakeEngine, only_path

from container.engine import Engine
from container.image import BuildOptions, build, built_variants, reference, revision, version, wheels_digest
from stgcn_onnx.errors import EnvironmentFault, UsageError

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what decides over an image."""
    project = tmp_path / "project"
    for folder in ("docker", "requirements"):
        shutil.copytree(ROOT / folder, project / folder)
    shutil.copy(ROOT / "pyproject.toml", project)
    return project


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, and no certificates of this machine's own."""
    only_path(monkeypatch, tmp_path)
    for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "variants"),
    [
        ("docker/Dockerfile", {"cpu", "gpu"}),
        ("requirements/openmmlab.lock", {"cpu", "gpu"}),
        ("requirements/install.sh", {"cpu", "gpu"}),
        ("requirements/cpu.lock", {"cpu"}),
        ("requirements/dev.lock", set()),
        ("docker/compose.yaml", set()),
    ],
)
def test_the_tag_is_a_digest_of_what_is_in_the_image(root: Path, changed: str, variants: set[str]) -> None:
    before = {variant: reference(root, variant) for variant in ("cpu", "gpu")}
    assert all(re.fullmatch(rf"localhost/stgcn-onnx:{v}-[0-9a-f]{{12}}", name) for v, name in before.items())
    with (root / changed).open("a") as stream:
        stream.write("# changed\n")
    assert {variant for variant in before if reference(root, variant) != before[variant]} == variants


def test_a_wrong_variant_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match=r"--variant tpu: there is no such image; give one of: cpu, gpu"):
        reference(root, "tpu")


def test_without_its_dockerfile_an_image_has_no_name(root: Path, bin_folder: Path) -> None:
    FakeEngine(bin_folder, "podman").has(reference(root, "cpu"))
    assert built_variants(root, Engine("podman")) == ["cpu"]
    (root / "docker" / "Dockerfile").unlink()
    assert built_variants(root, Engine("podman")) == []
    with pytest.raises(EnvironmentFault, match=r"Dockerfile is missing, .*; use a complete checkout"):
        reference(root, "cpu")


def build_arguments(call: str) -> dict[str, str]:
    return dict(re.findall(r"--build-arg=(\w+)=(\S*)", call))


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_a_build_is_labelled_and_tried_out(root: Path, bin_folder: Path, name: str) -> None:
    fake = FakeEngine(bin_folder, name)
    fake.on("build", 'echo "the log"; echo "buildkit ${DOCKER_BUILDKIT}" >>"$PWD/calls"')
    image = build(root, "gpu", Engine(name), BuildOptions(base_image="mine:1"))
    assert image == reference(root, "gpu")
    (call,) = fake.calls("build")
    assert f"--tag={image}" in call
    assert "--file=docker/Dockerfile" in call
    assert "--network" not in call
    assert build_arguments(call) == {
        "VARIANT": "gpu", "VERSION": version(ROOT), "REVISION": "unknown", "BASE_IMAGE": "mine:1"
    }  # fmt: skip
    assert fake.calls("buildkit") == ["buildkit 1"]
    assert fake.calls("run") == [f"run --rm --pull=never --network=none --read-only {image} -c import torch"]


def test_podman_takes_the_wheels_from_their_folder(root: Path, bin_folder: Path, tmp_path: Path) -> None:
    fake = FakeEngine(bin_folder, "podman")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a-1-py3-none-any.whl").write_text("a")
    build(root, "cpu", Engine("podman"), BuildOptions(wheels=tmp_path / "wheels"))
    (call,) = fake.calls("build")
    assert "--network=none" in call
    assert f"--build-context=wheels={tmp_path / 'wheels'}" in call
    assert build_arguments(call)["WHEELS_ID"] == wheels_digest(tmp_path / "wheels")


def test_docker_takes_the_wheels_from_an_image_that_is_made_once(root: Path, bin_folder: Path, tmp_path: Path) -> None:
    fake = FakeEngine(bin_folder, "docker")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a-1-py3-none-any.whl").write_text("a")
    wheels = f"localhost/stgcn-onnx-wheels:{wheels_digest(tmp_path / 'wheels')}"
    build(root, "cpu", Engine("docker"), BuildOptions(wheels=tmp_path / "wheels"))
    assert fake.calls("import") == [f"import - {wheels}"]
    assert build_arguments(fake.calls("build")[0])["WHEELS_IMAGE"] == wheels
    fake.has(wheels)
    build(root, "cpu", Engine("docker"), BuildOptions(wheels=tmp_path / "wheels"))
    assert len(fake.calls("import")) == 1


def test_other_wheels_have_another_digest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no wheel is there; fill it with `pip download"):
        wheels_digest(tmp_path)
    (tmp_path / "a.whl").write_text("a")
    before = wheels_digest(tmp_path)
    (tmp_path / "a.whl").write_text("bb")
    assert wheels_digest(tmp_path) != before


def test_a_certificate_bundle_is_a_secret_of_a_build_with_network(
    root: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeEngine(bin_folder, "podman")
    monkeypatch.setenv("PIP_CERT", str(root / "pyproject.toml"))
    build(root, "cpu", Engine("podman"), BuildOptions())
    assert f"--secret=id=ca,src={root / 'pyproject.toml'}" in fake.calls("build")[0]


def test_a_failed_build_says_what_to_do(root: Path, bin_folder: Path) -> None:
    FakeEngine(bin_folder, "podman").on("build", "exit 125")
    with pytest.raises(EnvironmentFault, match=r"`podman build` failed with code 125, see above; name a base image"):
        build(root, "cpu", Engine("podman"), BuildOptions())


def test_an_image_that_does_not_run_is_removed(root: Path, bin_folder: Path) -> None:
    fake = FakeEngine(bin_folder, "podman")
    fake.on("run", "echo 'python: not found' >&2; exit 127")
    with pytest.raises(EnvironmentFault, match=r"was built with podman, but does not run: python: not found"):
        build(root, "cpu", Engine("podman"), BuildOptions())
    assert fake.calls("rmi") == [f"rmi --force {reference(root, 'cpu')}"]


def test_the_revision_is_the_commit_and_says_when_files_differ(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    assert revision(tmp_path / "nowhere") == "unknown"
    (tmp_path / "file").touch()
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "first"]):
        subprocess.run(git + command, check=True)
    commit = revision(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    (tmp_path / "file").write_text("changed")
    assert revision(tmp_path) == f"{commit}-dirty"


def test_the_dockerfile_runs_as_nobody_checks_itself_and_bakes_no_tmpfs() -> None:
    final = DOCKERFILE.rpartition("FROM packages")[2]
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, flags=re.MULTILINE)
    assert "COPY --from=check" in final
    assert "image.revision" in final
    assert "USER" not in final
    assert not re.search(r"^RUN.*type=tmpfs", DOCKERFILE, flags=re.MULTILINE)
    assert "# syntax=" not in DOCKERFILE


def test_compose_has_the_same_rules_and_reserves_the_gpu() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert service["network_mode"] == "none"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    devices = services["converter-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert "deploy" not in services["converter"]
