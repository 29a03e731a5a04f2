"""The four locks of generated projects, one for each combination of accelerator and cluster."""

import functools
import re
import subprocess
import tempfile

import pytest
from support.answers import CHOICES
from support.project import ROOT

LOCKS = ["cpu-none", "cpu-dask", "nvidia-none", "nvidia-dask"]  # accelerator-cluster
PROMISED = {"numpy", "pandas", "scipy", "matplotlib", "scikit-learn", "requests", "tqdm"}
BROUGHT = {"nvidia": {"torch"}, "dask": {"bokeh", "dask", "s3fs"}}
# Versions below these have known holes, mended in them.
FLOORS = {"jupyter-server": (2, 21), "jupyterlab": (4, 6, 2), "nbconvert": (7, 17, 1)}


def asked(file) -> set[str]:
    """Return the libraries that a requirements.txt names."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return {re.split(r"[\[<>= ]", line)[0] for line in lines if line and line[0] != "#"}


def locked(name: str) -> dict[str, set[str]]:
    """Return the packages of a lock, each with its versions; none may be without a hash."""
    lock = (ROOT / "templates" / f"{name}.lock").read_text()
    assert all(entry.count("--hash=sha256:") for entry in re.split(r"\n(?=[a-z0-9-]+==)", lock)[1:])
    packages = {}
    for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)(?: ;.*)? \\$", lock, re.MULTILINE):
        packages.setdefault(package, set()).add(version)
    return packages


@functools.cache
def installed(name: str, python: str, machine: str) -> set[str]:
    """Return what the lock installs there; nothing may have to be compiled."""
    command = ["uv", "pip", "sync", "--dry-run", "--only-binary=:all:"]
    command += [f"--python-version={python}", f"--python-platform={machine}-manylinux_2_28"]
    with tempfile.TemporaryDirectory() as empty:
        command += [f"--target={empty}", ROOT / f"templates/{name}.lock"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^ \+ (\S+)==", done.stderr, re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_what_is_asked_for_with_hashes(bake, name):
    accelerator, cluster = name.split("-")
    path = bake(accelerator=accelerator, cluster=cluster).path
    libraries = asked(path / "requirements.txt")
    assert libraries >= PROMISED | BROUGHT.get(accelerator, set()) | BROUGHT.get(cluster, set())
    versions = locked(name)
    assert libraries | asked(path / "docker/requirements.txt") <= set(versions)
    assert {"uv", "pip"} <= set(versions)
    lock = (path / "requirements.lock").read_bytes()
    assert lock == (ROOT / "templates" / f"{name}.lock").read_bytes()
    for package, floor in FLOORS.items():
        (version,) = versions[package]
        assert tuple(int(number) for number in version.split(".")) >= floor, package


def test_locks_agree_wherever_they_can():
    """`tools/lock` starts the others from the plain one; botocore wants an older dateutil."""
    plain = locked("cpu-none")
    differ = {
        package
        for name in LOCKS[1:]
        for package, versions in locked(name).items()
        if package in plain and versions != plain[package]
    }
    assert differ <= {"python-dateutil"}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", CHOICES["python_version"])
def test_locks_resolve_to_wheels_on_both_architectures(python, machine):
    """The largest lock for every Python: the packages of the others are among its own."""
    assert len(installed("nvidia-dask", python, machine)) > 120


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", LOCKS)
def test_locks_bring_cuda_and_dask_to_who_asked(name, machine):
    packages = installed(name, "3.13", machine)
    assert packages <= installed("nvidia-dask", "3.13", machine)
    # PyTorch's wheels on the package index bring CUDA along, on both architectures.
    assert ("nvidia-cublas" in packages) == name.startswith("nvidia")
    assert ("distributed" in packages) == name.endswith("dask")
