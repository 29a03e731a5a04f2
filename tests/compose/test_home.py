"""What a person has set up survives: the home folder, a volume, and `data/input`."""

import pytest
from support.jupyter import Kernel
from support.project import is_root

pytestmark = pytest.mark.engine
THEME = "lab/api/settings/@jupyterlab/apputils-extension:themes"
TABS = {"data": {"layout-restorer:data": {"main": "mine"}}, "metadata": {"id": "default"}}
RECALL = """
from IPython.core.history import HistoryAccessor
lines = HistoryAccessor().get_tail(20, include_latest=True)
print(any("remembered = 1" in line for _, _, line in lines))
"""


def test_home_folder_keeps_settings_history_and_pip_installs_until_it_is_forgotten(clone):
    """Through a restart and a new container; the kernel that installs imports it at once."""
    project = clone(uid=20345 if is_root() else None, JUPYTER_TOKEN="open-sesame")
    project.up()
    project.api("PUT", THEME, {"raw": '{"theme": "JupyterLab Dark"}'})
    project.api("PUT", "lab/api/workspaces/default", TABS)
    kernel = Kernel(project)
    kernel.run("%pip install jupyter-resource-usage")
    kernel.run("import jupyter_resource_usage")
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
        assert project.api("GET", "api/metrics/v1")["rss"] > 0
        page = project.shell("jupyter labextension list 2>&1").stdout
        assert "@jupyter-server/resource-usage" in page

    project.api("DELETE", "api/contents/mine.ipynb")
    assert project.shell("find /home /data -name '*mine*'").stdout == ""
    project.compose("down", "--volumes")
    project.up()
    assert "Dark" not in project.api("GET", THEME)["raw"]
