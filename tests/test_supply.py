"""What is in the image, and where it comes from: the two commands of the README."""

import json
import os
import re
import tarfile
import tempfile
from pathlib import Path

import pytest
from conftest import Engine, Project, is_root, missing

# In the place of the real one, which comes from a registry: BuildKit calls it in the same way.
SCANNER = """
FROM {base}
COPY <<'EOF' /scan.py
import json, os, pathlib
files = pathlib.Path(os.environ["BUILDKIT_SCAN_SOURCE"]).rglob("*.dist-info")
packages = [{{"name": file.name}} for file in files]
document = {{"spdxVersion": "SPDX-2.3", "packages": packages}}
statement = {{"_type": "https://in-toto.io/Statement/v0.1", "predicate": document}}
statement["predicateType"] = "https://spdx.dev/Document"
folder = pathlib.Path(os.environ["BUILDKIT_SCAN_DESTINATION"])
(folder / "sbom.spdx.json").write_text(json.dumps(statement))
EOF
ENTRYPOINT ["python3", "/scan.py"]
"""


def command(project: Project, first: str) -> list[str]:
    """Return the command of the README that begins so."""
    text = (project.path / "README.md").read_text(encoding="utf-8")
    return re.search(rf"^`?({first} [^`\n]+)", text, re.MULTILINE)[1].split()


def test_the_list_of_contents_names_every_package_of_the_lock(bake):
    project = bake()
    project.run(*command(project, "uvx"))
    sbom = json.loads((project.path / "sbom.json").read_text(encoding="utf-8"))
    assert sbom["bomFormat"] == "CycloneDX"
    lock = (project.path / "requirements.lock").read_text(encoding="utf-8")
    locked = re.findall(r"^(\S+)==(\S+)(?: ;.*)? \\$", lock, re.MULTILINE)
    assert len(locked) > 100
    assert sorted((part["name"], part["version"]) for part in sbom["components"]) == sorted(locked)


def documents(archive: Path) -> dict[str, dict]:
    """Return what an image in an archive says of itself, by kind."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> dict:
            return json.loads(tar.extractfile(name).read())

        found, todo = {}, read("index.json")["manifests"]
        while todo:
            blob = read("blobs/" + todo.pop()["digest"].replace(":", "/"))
            todo += blob.get("manifests", [])
            for layer in blob.get("layers", []):
                if kind := layer.get("annotations", {}).get("in-toto.io/predicate-type"):
                    found[kind] = read("blobs/" + layer["digest"].replace(":", "/"))["predicate"]
        return found


@pytest.mark.engine
def test_one_command_writes_the_image_with_its_contents_and_provenance(engine, bake):
    if not is_root():
        missing("second-engine", "only root can start a second engine")
    project = bake()
    (project.path / "requirements.txt").write_text("requests\n")
    base = os.environ.get("BASE_IMAGE", "python:3.13-slim-trixie")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project.run("docker", "save", "--output", str(folder / "base.tar"), base)
        (folder / "scanner").write_text(SCANNER.format(base=base))
        with Engine(folder, features={"containerd-snapshotter": True}) as modern:
            project.env["DOCKER_HOST"] = modern.host
            project.run("docker", "load", "--input", str(folder / "base.tar"))
            scanner = (
                "--tag=docker/buildkit-syft-scanner:stable-1",
                "--file",
                str(folder / "scanner"),
            )
            project.run("docker", "build", *scanner, ".")
            # That engine has no way to the network but the machine's own.
            here = ("--network=host", f"--build-arg=BASE_IMAGE={base}")
            *build, context = command(project, "docker buildx")
            project.run(*build, *here, context)
        said = documents(project.path / "image.tar")
    names = {package["name"] for package in said["https://spdx.dev/Document"]["packages"]}
    assert any(package.startswith("requests-") for package in names)
    provenance = json.dumps(said["https://slsa.dev/provenance/v0.2"])
    assert "Dockerfile" in provenance and "BASE_IMAGE" in provenance
