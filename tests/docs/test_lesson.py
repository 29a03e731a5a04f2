"""docs/lesson.md and teacher.md, typed from top to bottom, each promised output compared."""

import os
import re
import shlex
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest
from support.project import BASE, ROOT, Project, free_port, is_root, missing, wait_until
from support.terminal import Terminal

LESSON = ROOT / "docs/lesson.md"
TEACHER = ROOT / "docs/teacher.md"
# Its language; the name of a file, or what it is: check, solution, cell; its text.
BLOCK = re.compile(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
MINUTES = r"^## \d\. .* \((\d+) minutes\)$"
# The lesson's commands beside Docker's and the shell's; options that Linux and macOS know.
PORTABLE = dict.fromkeys(["cat", "chmod", "ls", "mkdir", "seq"], "''") | {
    "chown": "-R", "cp": "-R", "find": "-name|-user", "grep": "-c",
    "head": "-n", "openssl": "-hex", "rm": "-f",
}  # fmt: skip


class Step(NamedTuple):
    command: str
    output: str  # what it promises; empty: nothing is promised


def steps(block: str) -> list[Step]:
    """Return the commands of a block, and what each is to print."""
    found = []
    for part in re.findall(r"^\$ .*\n(?:> .*\n)*(?:(?!\$ ).*\n)*", block, re.MULTILINE):
        command = re.match(r"\$ (.*\n(?:> .*\n)*)", part)
        output = part[command.end() :].strip("\n")
        found.append(Step(re.sub(r"^> ", "", command[1], flags=re.MULTILINE), output))
    return found


def agrees(promised: str, printed: str) -> bool:
    """Whether a text is what was promised; `...` is anything in a line, alone any lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in promised.splitlines()
    )
    plain = re.sub(r"\x1b\[[?\d]*[A-Za-z]|\r", "", printed).rstrip("\n") + "\n"
    return re.fullmatch(pattern, plain) is not None


class Shell:
    """One shell for the whole lesson, with the commands that every system has, and no more."""

    def __init__(self, shell: list[str], cwd: Path):
        self.files = [cwd / "stdout", cwd / "stderr"]
        tools = cwd / "tools"
        tools.mkdir()
        refuse = "echo $0: illegal option $word >&2; exit 64"
        for name in (*PORTABLE, "docker", "uvx"):
            allowed = PORTABLE.get(name, "*")
            (tools / name).write_text(
                f"#!/bin/sh\nfor word; do case $word in {allowed}) ;; -*) {refuse} ;; esac; done\n"
                f'PATH={shlex.quote(os.environ["PATH"])}\nexec {name} "$@"\n'
            )
            (tools / name).chmod(0o755)
        env = {**os.environ, "PATH": str(tools)}
        self.process = subprocess.Popen(
            [shutil.which(shell[0]), *shell[1:]],
            cwd=cwd, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def type(self, command: str) -> tuple[int, str, str]:
        """Run a command; return its exit code and what it printed."""
        out, err = self.files
        self.process.stdin.write(f"{{\n{command}\n}} </dev/null >{out} 2>{err}; echo $?\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline()), out.read_text(), err.read_text()

    def folder(self) -> Path:
        return Path(self.type("pwd")[1].strip())


def talk(step: Step, cwd: Path) -> tuple[int, str, str]:
    """Run a command in a terminal and type what stands behind the prompts in its output."""
    seen = ""
    with Terminal(step.command.strip(), cwd) as terminal:
        for typed in re.findall(r"^\S+# (.*)$", step.output, re.MULTILINE):
            terminal.wait_for("# $")
            seen += terminal.text
            terminal.text = ""
            terminal.press(f"{typed}\r".encode())
        return terminal.exit_code(30), seen + terminal.text, ""


def opens(printed: str, port: int) -> None:
    """Open what is printed as an address; the learner's own Jupyter knows its inner port only."""
    for address in re.findall(r"http://\S+?(:\d+/\S*token=\w+)", printed):
        url = "http://127.0.0.1" + address.replace(":8888", f":{port}")
        with urllib.request.urlopen(url) as page:
            assert "login" not in page.url, f"{url} asks for a token"


def test_lesson_comparison_can_fail():
    assert agrees("a...c", "abc\n") and not agrees("a...c", "abd\n")
    assert agrees("...\nend", "1\n2\nend\n") and not agrees("...\nend", "1\n2\nend\n3\n")
    assert not agrees("mine", "") and not agrees("3", "13\n")


@pytest.mark.skipif(os.name == "nt", reason="the lesson is typed in WSL")
def test_lesson_shell_refuses_what_some_systems_lack(tmp_path):
    shell = Shell(["zsh", "-f"] if shutil.which("zsh") else ["bash"], tmp_path)
    assert shell.type("ls tools && find . -name ls && head -n 1 tools/ls && cd .")[0] == 0
    for command in ("stat -c %u .", "head -n -1 tools/ls", "grep -P a tools/ls", "ls *.no", "date"):
        assert shell.type(command)[0] != 0, command
    shell.process.terminate()


def test_lesson_minutes_add_up():
    lesson = LESSON.read_text(encoding="utf-8")
    for checkpoint in (30, 60):
        done, mark, _ = lesson.partition(f"## Checkpoint: {checkpoint} minutes")
        assert mark and sum(map(int, re.findall(MINUTES, done, re.MULTILINE))) == checkpoint
    sections = re.findall(MINUTES, lesson, re.MULTILINE)
    assert sum(map(int, sections)) == 80
    table = re.findall(r"^\| \d .*?\| (\d+) \|", TEACHER.read_text("utf-8"), re.MULTILINE)
    assert table == sections


def test_lesson_finds_what_is_in_the_generated_files(default_project):
    section = LESSON.read_text(encoding="utf-8").partition("## 6.")[2].partition("## 7.")[0]
    ours = re.findall(r"^\|.*?\| (.+?) \|", section, re.MULTILINE)
    named = re.findall(r"`(.+?)`", "\n".join(ours))
    files = [default_project.path / name for name in ("Dockerfile", "docker-compose.yml")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert len(named) > 10
    assert not [name for name in named if name not in text]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("shell", "way"),
    [
        ("bash", "whole"),
        pytest.param("bash", "late", marks=pytest.mark.nightly),
        pytest.param("zsh", "whole", marks=[pytest.mark.zsh, pytest.mark.nightly]),
    ],
)
def test_lesson_is_typed_from_top_to_bottom(engine, tmp_path, shell, way):
    """Late: from the last checkpoint on, then what stands before it, as neither needs the other."""
    if not shutil.which(shell):
        missing(shell, f"{shell} is not installed")
    slug = f"lesson-{os.getpid()}-{shell}-{way}"
    port, students = free_port(), free_port()
    text = LESSON.read_text(encoding="utf-8")
    if late := way == "late":
        before, _, rest = text.partition("## At home")[0].partition("## 1. ")
        _, *parts = re.split(r"## Checkpoint: \d+ minutes", rest)
        text = before + "".join(reversed(parts))
    else:
        text += TEACHER.read_text(encoding="utf-8")
    for old, new in {
        "gh:org/ml-docker --no-input": f"{ROOT} --no-input project_slug={slug}",
        "~/docker-lesson": str(tmp_path / "docker-lesson"),
        "my-ml-project": slug,
        "my-hello": f"{slug}-hello",
        "my-notebook": f"{slug}-own",
        "my-server": f"{slug}-server",
        "my-second": f"{slug}-second",
        BASE: os.environ.get("BASE_IMAGE", BASE),
        "8801": str(students),
        "8830": str(students + 1),  # two students are enough
        "\n30\n": "\n2\n",
        "RUN pip install notebook pandas": "RUN pip install tabulate",  # saved, loaded, never run
        "student-": f"{slug}-student-",
        # An earlier run of this test must not have left the result in the engine's cache.
        "echo tabulate >>": f"printf 'tabulate\\n# {time.time()}\\n' >>",
        "me:8888": f"me:{port}",
        "me/8888": f"me/{port}",
        "127.0.0.1:8888": f"127.0.0.1:{port}",
        "8899": str(free_port()),
        "8890": str(free_port()),
    }.items():
        assert late or old in text, old
        text = text.replace(old, new)

    here = Project(tmp_path)
    projects = tmp_path / "docker-lesson"
    typing = Shell([shell, "-f"] if shell == "zsh" else [shell], tmp_path)
    compared, checks = 0, []
    # An owner who is not root.
    owner = ["20345", "20346"] if is_root() else [str(os.getuid())] * 2

    def attempt(step: Step) -> str:
        """Type a command; return what was not as promised."""
        if " -it " in step.command:
            code, out, err = talk(step, tmp_path)
        else:
            code, out, err = typing.type(step.command)
        held = any(agrees(step.output, printed) for printed in (out, err, out + err))
        # What is said to be refused may end with another code; a bare "..." says nothing.
        if held if step.output.strip(".") else code == 0:
            opens(out, port)
            return ""
        return f"{step.command}ended with {code}\n{out}{err}\npromised:\n{step.output}"

    def have_started() -> bool:
        """Whether all of the learner's servers hear what would stop them: seconds after a start."""
        own = [f"--filter=name={slug}-{name}" for name in ("own", "server", "second")]
        names = here.run("docker", "ps", "--format={{.Names}}", *own).stdout.split()
        logs = [here.run("docker", "logs", name, check=False) for name in names]
        return all("token=" in log.stdout + log.stderr for log in logs)

    def follow(step: Step) -> None:
        """Type a command until it prints what is promised: at once, but for what shows a state."""
        nonlocal compared
        if re.match("docker (stop|compose down)", step.command):
            wait_until(have_started, 60, "the start of what is to be stopped")
        shows = re.search(r" (logs|ps)\b", step.command)
        end = time.monotonic() + (60 if shows else 0)
        while (wrong := attempt(step)) and time.monotonic() < end:
            time.sleep(0.3)
        assert not wrong, wrong
        compared += bool(step.output)
        if stopped := re.match("docker stop (.*)", step.command):  # --rm comes a moment later
            gone = ["docker", "inspect", stopped[1]]
            wait_until(lambda: here.run(*gone, check=False).returncode, 30, "its removal")

    try:
        for kind, info, block in BLOCK.findall(text):
            if info == "cell":  # what a kernel runs in the browser
                here.run("docker", "exec", f"{slug}-server", "python", "-c", block)
            elif info == "check":
                checks = steps(block)
                held = [step.command for step in checks if not attempt(step)]
                assert not held, f"these hold before the exercise is done: {held}"
            elif kind == "console":
                for step in steps(block) + (checks if info == "solution" else []):
                    if step.command.startswith("docker load"):
                        here.run("docker", "image", "rm", slug, f"{slug}-own-base")
                    follow(step)
            else:
                file = typing.folder() / info
                file.write_text(block)
                os.chown(file, file.parent.stat().st_uid, -1)
            if (projects / slug).exists() and not (projects / slug / ".env").exists():
                (projects / slug / ".env").write_text(f"JUPYTER_PORT={port}\n")
                (projects / "accounts.txt").write_text("\n".join(owner))
            for folder in projects.glob("*/"):
                if folder.stat().st_uid == 0:  # a student is not root
                    here.run("chown", "-R", owner[0], folder)
        assert compared >= (15 if late else 50)
    finally:
        typing.process.terminate()
        for folder in projects.glob("*/"):
            Project(folder).compose("down", "--volumes", "--timeout", "1", check=False)
        for name in ("look", "1", "2", "server", "second"):
            here.run("docker", "rm", "-fv", f"{slug}-{name}", check=False)
        images = here.run("docker", "images", "--format={{.Repository}}", f"{slug}*").stdout
        here.run("docker", "rmi", "-f", *images.split(), check=False)
