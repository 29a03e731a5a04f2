"""What is in an image, and what building it prints."""

import re

from support.project import Project


def in_image(project: Project, script: str) -> str:
    """Run Python code in the image and return what it printed."""
    command = ("docker", "run", "--rm", "--tmpfs=/tmp", project.slug, "python", "-c", script)
    return project.run(*command).stdout


def beyond_the_lock(project: Project) -> set[str]:
    """Return the packages that the image has and the lock has not.

    Fails if anything that the lock pins is missing or another, or if the packages do not fit
    together.
    """
    project.inside("uv", "pip", "check")
    said = project.inside("uv", "pip", "sync", "--dry-run", "/project/requirements.lock").stderr
    assert "Would " in said and "Would install" not in said, said
    return set(re.findall(r"^ - ([\w-]+)", said, re.MULTILINE))


def build(project: Project, check: bool = True) -> str:
    """Build the image and return the log."""
    done = project.compose("--progress=plain", "build", "notebook", check=check)
    return done.stdout + done.stderr
