"""https: a file `certificate.pem` in the project's folder, with certificate and key."""

import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request

import pytest
from support.git import git
from support.project import Project, inspect
from support.terminal import Terminal

pytestmark = pytest.mark.engine


def certify(project: Project) -> ssl.SSLContext:
    """Write the file, readable for the owner of the folder alone; return who trusts in it."""
    key = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost")
    project.run(*key, "-keyout", "certificate.pem", "-out", "public")
    file, public = project.path / "certificate.pem", project.path / "public"
    with file.open("a") as whole:
        whole.write(public.read_text())
    owner = project.path.stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    return ssl.create_default_context(cafile=public)


def log_in(address: str, trust: ssl.SSLContext, password: str) -> str:
    """Type a password on the page that asks for it; return the path of the next page."""
    browser = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=trust), urllib.request.HTTPCookieProcessor()
    )
    page = browser.open(address).read().decode()
    xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page)[1]
    form = urllib.parse.urlencode({"_xsrf": xsrf, "password": password}).encode()
    return urllib.parse.urlsplit(browser.open(address, form).url).path


def test_https_needs_one_file(clone):
    project = clone()
    trust = certify(project)
    project.up()
    url = project.printed_url()
    assert url.startswith(f"https://127.0.0.1:{project.env['JUPYTER_PORT']}/?token=")
    page = urllib.request.urlopen(url.replace("127.0.0.1", "localhost"), context=trust)
    assert page.status == 200 and project.logs().count("\n") == 1


def test_https_with_a_password_behind_a_path_for_others(clone):
    """As .env.example says; healthy, and quiet, with all of them."""
    project = clone(uid=20345)
    trust = certify(project)
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
    port = project.env["JUPYTER_PORT"]
    assert project.printed_url().startswith(f"https://127.0.0.1:{port}/team/")
    (published,) = inspect(project.container())["NetworkSettings"]["Ports"]["8888/tcp"]
    assert published["HostIp"] == "0.0.0.0"
    login = f"https://localhost:{port}/team/login?next=%2Fteam%2Flab"
    assert log_in(login, trust, "open sesame") == "/team/lab"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        log_in(login, trust, "wrong")
    assert project.logs().count("\n") == 2, project.logs()


def test_https_keeps_the_key_out_of_git_and_of_the_image(clone):
    project = clone()
    certify(project)
    git(project.path, "init", "--quiet")
    assert "certificate.pem" not in git(project.path, "status", "--porcelain", "-uall")
    project.compose("build", "notebook")
    find = ("docker", "run", "--rm", project.slug, "find", "/project", "/data")
    files = project.run(*find).stdout
    assert "/project/README.md" in files and "certificate.pem" not in files
