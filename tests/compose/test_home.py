"""What a person has set up survives: the home folder, a volume, and `data/input`."""

import pytest
from support.jupyter import Kernel

pytestmark = pytest.mark.engine
THEME = "lab/api/settings/@jupyterlab/apputils-extension:themes"
TABS = {"data": {"layout-restorer:data": {"main": "mine"}}, "metadata": {"id": "default"}}
RECALL = """
from IPython.core.history import HistoryAccessor
lines = HistoryAccessor().get_tail(20, include_latest=True)
print(any("remembered = 1" in line for _, _, line in lines))
"""


def test_home_folder_survives_until_it_is_forgotten(clone):
    """Theme, open tabs, history, trust: through a restart and a new container."""
    project = clone(JUPYTER_TOKEN="open-sesame")
    project.up()
    project.api("PUT", THEME, {"raw": '{"theme": "JupyterLab Dark"}'})
    project.api("PUT", "lab/api/workspaces/default", TABS)
    kernel = Kernel(project)
    kernel.run("remembered = 1")
    project.api("DELETE", f"api/kernels/{kernel.id}")
    project.notebook("mine.ipynb", "1")
    project.shell("jupyter trust mine.ipynb")
    for command in (["restart", "notebook"], ["down"]):
        project.compose(*command)
        project.up()
        assert "Dark" in project.api("GET", THEME)["raw"]
        assert project.api("GET", "lab/api/workspaces/default")["data"] == TABS["data"]
        assert project.shell(f"python -c '{RECALL}'").stdout == "True\n"
        (cell,) = project.api("GET", "api/contents/mine.ipynb")["content"]["cells"]
        assert cell["metadata"]["trusted"]

    project.api("DELETE", "api/contents/mine.ipynb")
    assert project.shell("find /home /data -name '*mine*'").stdout == ""
    project.compose("down", "--volumes")
    project.up()
    assert "Dark" not in project.api("GET", THEME)["raw"]
