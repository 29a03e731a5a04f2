"""https: a file `certificate.pem` in the project's folder, with certificate and key."""

import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request

import pytest
from support.project import inspect, is_root
from support.terminal import Terminal

pytestmark = pytest.mark.engine


def test_https_with_a_password_behind_a_path_for_others(clone):
    """As .env.example says; healthy, and quiet, with all of them. The key is its owner's alone."""
    project = clone(uid=20345 if is_root() else None)
    key = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost")
    project.run(*key, "-keyout", "certificate.pem", "-out", "public")
    file, public = project.path / "certificate.pem", project.path / "public"
    file.write_text(file.read_text() + public.read_text())
    owner = project.path.stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    settings = (project.path / ".env.example").read_text(encoding="utf-8")
    (command,) = re.findall(
        r"^# (docker compose run .* python .*passwd.*)$", settings, re.MULTILINE
    )
    with Terminal(command, project.path, project.env) as terminal:
        for prompt in ("Enter password:", "Verify password:"):
            terminal.wait_for(prompt)
            terminal.press(b"open sesame\r")
        hashed = terminal.wait_for(r"argon2:\S+").group()
    (project.path / ".env").write_text(
        f"JUPYTER_BIND=0.0.0.0\nBASE_URL=/team/\nJUPYTER_PASSWORD='{hashed}'\n"
    )
    project.compose("up", "--detach", "--wait", "--no-build", "notebook")
    (published,) = inspect(project.container())["NetworkSettings"]["Ports"]["8888/tcp"]
    assert published["HostIp"] == "0.0.0.0"
    url = project.printed_url()
    here = f"https://127.0.0.1:{project.env['JUPYTER_PORT']}/team/"
    assert url.startswith(f"{here}?token=")

    trusting = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=public))
    site = here.replace("127.0.0.1", "localhost")
    browser = urllib.request.build_opener(trusting)
    with browser.open(url.replace(here, site), timeout=30) as page:
        assert page.url.partition("?")[0] == f"{site}lab"

    def log_in(password: str) -> str:
        """Type a password on the page that asks for it; return the address of the next page."""
        cookies = urllib.request.HTTPCookieProcessor()
        browser = urllib.request.build_opener(trusting, cookies)
        page = browser.open(f"{site}login?next=%2Fteam%2Flab").read().decode()
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page)[1]
        form = urllib.parse.urlencode({"_xsrf": xsrf, "password": password}).encode()
        return browser.open(f"{site}login?next=%2Fteam%2Flab", form).url

    assert log_in("open sesame") == f"{site}lab"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        log_in("wrong")
    log = project.logs()
    assert "On other computers" in log and log.count("\n") == 2, log
