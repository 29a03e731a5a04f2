"""What is in an image, and what building it prints."""

import json
import re

from packaging.requirements import Requirement

from support.project import Project, inspect

INSTALLED = """
import importlib.metadata as metadata, json
from packaging.markers import default_environment
# The first on the path counts: the base image has a pip, too.
found = list(metadata.distributions())[::-1]
needs = {library.name: library.requires or [] for library in found}
versions = {library.name: library.version for library in found}
print(json.dumps([versions, needs, default_environment()]))
"""


def in_image(project: Project, script: str) -> str:
    """Run Python code in the image and return what it printed."""
    command = ("docker", "run", "--rm", "--tmpfs=/tmp", project.slug, "python", "-c", script)
    return project.run(*command).stdout


def normal(name: str) -> str:
    """Return a package's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(project: Project) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """Return version by package, each requirement not met, and what markers are compared with."""
    versions, needs, environment = json.loads(in_image(project, INSTALLED))
    versions = {normal(name): version for name, version in versions.items()}
    unmet = []
    for name, texts in needs.items():
        for need in map(Requirement, texts):
            if need.marker and not need.marker.evaluate(environment | {"extra": ""}):
                continue
            version = versions.get(normal(need.name))
            if not version or not need.specifier.contains(version, prereleases=True):
                unmet.append(f"{name}: {need}")
    return versions, unmet, environment


def locked(project: Project, environment: dict[str, str]) -> dict[str, str]:
    """Return what the lock pins, for the image's Python: version (or address) by package."""
    lock = (project.path / "requirements.lock").read_text(encoding="utf-8")
    requirements = map(Requirement, re.findall(r"^(\w[^\\\n]*?)(?: \\)?$", lock, re.MULTILINE))
    return {
        each.name: each.url or str(each.specifier).removeprefix("==")
        for each in requirements
        if not each.marker or each.marker.evaluate(environment)
    }


def layers(project: Project) -> list[str]:
    """Return the digests of the image's layers, the base image's first."""
    return inspect(project.slug)["RootFS"]["Layers"]


def build(project: Project, check: bool = True) -> str:
    """Build the image and return the log."""
    done = project.compose("--progress=plain", "build", "notebook", check=check)
    return done.stdout + done.stderr
