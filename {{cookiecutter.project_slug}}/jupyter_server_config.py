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
c.Application.log_level = "ERROR"  # entrypoint.sh prints the one address that is right outside
c.FileContentsManager.delete_to_trash = False  # a hidden folder that nobody empties


def without_news(handler, page):
    """JupyterLab asks nobody whether it may fetch news; `c.LabApp.news_url = None` still asks."""
    page["disabledExtensions"].append("@jupyterlab/apputils-extension:announcements")
    return page


c.ServerApp.tornado_settings = {"page_config_hook": without_news}

# The token is JUPYTER_TOKEN, which entrypoint.sh fills in where it is empty.
c.PasswordIdentityProvider.hashed_password = os.environ.get("JUPYTER_PASSWORD", "")

certificate = Path("/run/secrets/certificate")
if certificate.exists() and "BEGIN CERTIFICATE" in certificate.read_text():
    c.ServerApp.certfile = str(certificate)
