"""Fixtures of the running container."""

import pytest
from support.project import Project, is_root

TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def lab(module_clone) -> Project:
    """A server of a person whose number has no name anywhere, with a token that is known."""
    project = module_clone(uid=20345 if is_root() else None, JUPYTER_TOKEN=TOKEN)
    project.up()
    return project
