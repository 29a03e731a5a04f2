"""What people do from habit in any notebook, and expect to work here."""

import json

import pytest
from support.jupyter import Kernel
from support.project import Project, is_root

pytestmark = pytest.mark.engine
LIBRARIES = {"matplotlib", "numpy", "pandas", "requests", "scikit-learn", "scipy", "tqdm"}
# As .env has it, and what it means: that of any other program that reads such files.
OWN = {
    "HF_TOKEN=hf_abc": "hf_abc",
    "WANDB_API_KEY='pa$$word \"x\" # y'": 'pa$$word "x" # y',
    'OPENAI_API_KEY="two words"': "two words",
    "GREETING=two words # said": "two words",
    "TZ=": "",
}
TYPE_LINE = """
import json, sys, websocket
address, line, end = sys.argv[1:]
terminal = websocket.create_connection(address, timeout=30)
terminal.send(json.dumps(["stdin", line + "\\r"]))
shown = ""
while end not in shown:
    kind, text = json.loads(terminal.recv())[:2]
    shown += text if kind == "stdout" else ""
print(shown)
"""


@pytest.fixture(scope="module")
def lab(module_clone) -> Project:
    """A server of a person whose number has no name anywhere, with an .env written on Windows."""
    project = module_clone(uid=20345 if is_root() else None, JUPYTER_TOKEN="open-sesame")
    (project.path / ".env").write_text("\r\n".join(OWN) + "\r\n", newline="")
    project.up()
    return project


@pytest.fixture(scope="module")
def kernel(lab) -> Kernel:
    return Kernel(lab)


def test_pip_shows_the_libraries_of_the_image(kernel):
    listed = kernel.run("%pip list").stdout.split()
    frozen = kernel.run("!pip freeze").stdout.split()
    assert set(listed) >= LIBRARIES
    assert {line.partition("==")[0] for line in frozen} >= LIBRARIES


def test_pip_refuses_to_replace_what_the_image_has(kernel):
    version = "import tqdm; print(tqdm.__version__)"
    before = kernel.run(version).stdout
    for command in ("install tqdm==4.66.0", "uninstall --yes tqdm"):
        said = kernel.run(f"!pip {command}").stdout
        assert "ERROR: " in said and "/opt/venv" in said, said
    assert Kernel(kernel.project).run(version).stdout == before


def test_terminal_is_bash_with_the_notebooks_python_and_a_plain_prompt(lab, kernel):
    command = "import sys; print(sys.executable)"
    here = kernel.run(command).stdout.strip()
    line = f'echo "$BASH_VERSION" $((6 * 7)); python -c "{command}"; echo e""nd'
    name = lab.api("POST", "api/terminals")["name"]
    address = f"ws://127.0.0.1:8888/terminals/websocket/{name}?token={lab.env['JUPYTER_TOKEN']}"
    typed = ("entrypoint", "python", "-c", TYPE_LINE, address, line, "end")
    shown = lab.compose("exec", "-T", "notebook", *typed).stdout
    assert " 42" in shown and here in shown
    assert "/data/notebook$ " in shown and "I have no name!" not in shown


def test_user_has_a_name_a_home_and_the_letters_of_the_world(kernel):
    code = "import getpass, locale, pathlib; print(getpass.getuser(), pathlib.Path.home())"
    shown = kernel.run(f"{code}; print(locale.getpreferredencoding(), 'ö日')").stdout
    assert shown == "notebook /home/notebook\nUTF-8 ö日\n"
    assert kernel.project.shell("locale charmap").stdout == "UTF-8\n"


def test_env_file_variables_reach_the_notebook_as_they_are(kernel):
    shown = json.loads(kernel.run("import json, os; print(json.dumps(dict(os.environ)))").stdout)
    assert {line: shown.get(line.partition("=")[0]) for line in OWN} == OWN
