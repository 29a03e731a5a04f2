"""Options of the Jupyter server. After a change: docker compose restart notebook

All others: https://jupyter-server.readthedocs.io/en/latest/other/full-config.html
"""

import os
from pathlib import Path

c = get_config()  # noqa: F821

# Every address of the container. Who reaches it from outside is decided in docker-compose.yml.
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0  # another port would lead nowhere
c.ServerApp.open_browser = False  # there is none in here
c.ServerApp.allow_root = True  # only for a folder of root's, and without any of root's rights
c.ServerApp.answer_yes = True  # Ctrl-C stops it without a question
c.ServerApp.base_url = os.environ.get("BASE_URL") or "/"
c.PasswordIdentityProvider.hashed_password = os.environ.get("JUPYTER_PASSWORD", "")
c.Application.log_level = "ERROR"  # docker/start prints the one address that is right outside
c.KernelManager.transport = "ipc"  # kernels listen to files, not to the network
c.FileContentsManager.delete_to_trash = False  # a hidden folder that nobody empties

if Path("/project/certificate.pem").exists():  # certificate and key in one file: https
    c.ServerApp.certfile = "/project/certificate.pem"

# A terminal has the environment of the notebooks (a login shell, the default, would lose PATH).
c.ServerApp.terminado_settings = {"shell_command": ["bash"]}


def without_news(handler, page):
    """JupyterLab does not ask whether it may fetch news."""
    page["disabledExtensions"].append("@jupyterlab/apputils-extension:announcements")
    return page


c.ServerApp.tornado_settings = {"page_config_hook": without_news}
