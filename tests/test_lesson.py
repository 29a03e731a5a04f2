"""docs/lesson.md and teacher.md, typed from top to bottom, each promised output compared."""

import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from support.project import ROOT, Project, free_port, is_root, missing

LESSON = ROOT / "docs/lesson.md"
BASE = "python:3.13-slim-trixie"
BLOCK = re.compile(r"^ *```(?P<kind>\w+) ?(?P<info>.*)\n(?P<text>(?:.*\n)*?) *```$", re.MULTILINE)
# The lesson's commands beside Docker's and the shell's; options that Linux and macOS know.
PORTABLE = {
    "cat": "''",
    "chmod": "''",
    "chown": "-R",
    "cp": "-R",
    "env": "-u",
    "find": "-name|-not|-user",
    "grep": "-c|-A",
    "head": "-n",
    "ls": "-l",
    "mkdir": "''",
    "rm": "-f",
    "seq": "''",
}


class Step(NamedTuple):
    command: str
    output: str  # what it promises; empty: nothing is promised


def steps(block: str) -> list[Step]:
    """Return the commands of a block, and what each is to print."""
    found = []
    for part in re.findall(r"^ *\$ .*\n(?: *> .*\n)*(?:(?! *\$ ).*\n)*", block, re.MULTILINE):
        command = re.match(r" *\$ (.*\n(?:> .*\n)*)", part)
        output = re.sub("^   ", "", part[command.end() :], flags=re.MULTILINE)
        found.append(Step(re.sub(r"^> ", "", command[1], flags=re.MULTILINE), output.strip("\n")))
    return found


def agrees(promised: str, printed: str) -> bool:
    """Whether a text is what was promised; `...` is anything in a line, alone any lines."""
    pattern = ""
    for line in promised.splitlines():
        pattern += (
            r"(?:.*\n)*"
            if line == "..."
            else ".*".join(re.escape(p) for p in line.split("...")) + r"\n"
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
    from support.terminal import Terminal  # which Windows does not have

    seen = ""
    with Terminal(step.command.strip(), cwd) as terminal:
        for typed in re.findall(r"^\S+# (.*)$", step.output, re.MULTILINE):
            terminal.wait_for("# $")
            seen += terminal.text
            terminal.text = ""
            terminal.press(f"{typed}\r".encode())
        return terminal.exit_code(30), seen + terminal.text, ""


def test_the_comparison_can_fail():
    assert agrees("a...c", "abc\n") and not agrees("a...c", "abd\n")
    assert agrees("...\nend", "1\n2\nend\n") and not agrees("...\nend", "1\n2\nend\n3\n")
    assert not agrees("mine", "") and not agrees("3", "13\n")


@pytest.mark.skipif(os.name == "nt", reason="the lesson is typed in WSL")
@pytest.mark.parametrize(
    "command", ["stat -c %u .", "head -n -1 tools/ls", "grep -P a tools/ls", "ls *.nothing", "date"]
)
def test_what_some_systems_lack_is_refused(tmp_path, command):
    shell = Shell(["zsh", "-f"] if shutil.which("zsh") else ["bash"], tmp_path)
    assert shell.type("ls -l tools && find . -name ls && head -n 1 tools/ls && cd .")[0] == 0
    assert shell.type(command)[0] != 0
    shell.process.terminate()


def test_every_word_of_the_generated_files_is_explained(default_project):
    section = LESSON.read_text(encoding="utf-8").partition("## 7.")[2].partition("## Homework")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    named = set(re.findall(r"`([\w-]+)`", "\n".join(rows)))
    dockerfile = (default_project.path / "Dockerfile").read_text(encoding="utf-8")
    dockerfile = re.sub(r"\\\n", "", re.sub(r"^ *#.*\n", "", dockerfile, flags=re.MULTILINE))
    compose = yaml.safe_load((default_project.path / "docker-compose.yml").read_text("utf-8"))

    # Names that the file gives to things are not words of Compose, nor are the settings below them.
    def keys(content, own=False):
        if isinstance(content, dict):
            for key, value in content.items():
                if not own:
                    yield key
                if key not in ("args", "environment") or own:
                    own_below = key in ("services", "secrets", "volumes") and not own
                    yield from keys(value, own=own_below)
        if isinstance(content, list):
            for value in content:
                yield from keys(value)

    used = {*re.findall(r"^([A-Z]+) ", dockerfile, re.MULTILINE), *keys(compose)}
    assert used >= {"FROM", "services", "volumes", "create_host_path", "read_only"}
    assert named == used


@pytest.mark.engine
@pytest.mark.parametrize("shell", [["bash"], ["zsh", "-f"]], ids=["bash", "zsh"])
def test_the_lesson(engine, tmp_path, shell):
    if not shutil.which(shell[0]):
        missing(shell[0], f"{shell[0]} is not installed")
    slug = f"lesson-{os.getpid()}-{shell[0]}"
    port, students = free_port(), free_port()
    text = LESSON.read_text(encoding="utf-8")
    text += LESSON.with_name("teacher.md").read_text(encoding="utf-8")
    for old, new in {
        "gh:org/ml-docker --no-input": f"{ROOT} --no-input project_slug={slug}",
        "my-ml-project": slug,
        "my-first-image": f"{slug}-first",
        BASE: os.environ.get("BASE_IMAGE", BASE),
        "port=8801": f"port={students}",
        "(seq 8801 8830)": f"(seq {students} {students + 1})",  # two students are enough
        "\n30\n": "\n2\n",
        "student-": f"{slug}-student-",
        # An earlier run of this test must not have left the result in the engine's cache.
        "echo tabulate >>": f"printf 'tabulate\\n# {time.time()}\\n' >>",
        "me:8888": f"me:{port}",
        "me/8888": f"me/{port}",
        "127.0.0.1:8888": f"127.0.0.1:{port}",
        "8899": str(free_port()),
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    blocks = [(kind, info, text) for kind, info, text in BLOCK.findall(text)]
    checks = [step for _, info, text in blocks if info == "check" for step in steps(text)]
    (solutions,) = [steps(text) for _, info, text in blocks if info == "solutions"]

    here, project = Project(tmp_path), Project(tmp_path / slug)
    typing = Shell(shell, tmp_path)
    compared = 0
    # An owner who is not root.
    owner = ["20345", "20346"] if is_root() else [str(os.getuid())] * 2
    (tmp_path / "accounts.txt").write_text("\n".join(owner))

    def follow(step: Step) -> None:
        nonlocal compared
        wrong = attempt(step)
        assert not wrong, wrong
        compared += bool(step.output)

    def attempt(step: Step) -> str:
        """Type a command; return what was not as promised."""
        interactive = " -it " in step.command
        code, out, err = talk(step, tmp_path) if interactive else typing.type(step.command)
        if interactive:
            time.sleep(2)  # as a person would, before the next command; `ps` may be that much late
        held = any(agrees(step.output, printed) for printed in (out, err, out + err))
        # What is said to be refused may end with another code; a bare "..." says nothing.
        if held if step.output.strip(".") else code == 0:
            return ""
        return f"{step.command}ended with {code}\n{out}{err}\npromised:\n{step.output}"

    try:
        for kind, info, text in blocks:
            if kind != "console":
                file = typing.folder() / info
                file.write_text(text)
                os.chown(file, file.parent.stat().st_uid, -1)
            elif info == "check" and checks:
                held = [step.command for step in checks if not attempt(step)]
                assert not held, f"these hold before the exercise is done: {held}"
                for step in solutions + checks:
                    follow(step)
                checks = []
            elif not info:
                for step in steps(text):
                    if step.command.startswith("docker load"):
                        here.run("docker", "image", "rm", slug)
                    follow(step)
                    if step.command.startswith("cd ") and not (project.path / ".env").exists():
                        (project.path / ".env").write_text(f"JUPYTER_PORT={port}\n")
                if "accounts.txt" in text:  # the engine has addresses for some thirty networks
                    names = here.run("docker", "network", "ls", "--format={{.Name}}").stdout
                    assert f"{slug}-student" not in names
            for folder in tmp_path.glob(f"{slug}*"):
                if folder.stat().st_uid == 0:  # a student is not root
                    here.run("chown", "-R", owner[0], folder)
        assert compared > 40
    finally:
        typing.process.terminate()
        for folder in [project.path, *tmp_path.glob(f"{slug}-student-*")]:
            if folder.exists():
                Project(folder).compose("down", "--volumes", "--timeout", "1", check=False)
                here.run("docker", "rmi", "-f", folder.name, f"{folder.name}-lock", check=False)
        for name in ("look", "1", "2"):
            here.run("docker", "rm", "-fv", f"{slug}-{name}", check=False)
        here.run("docker", "rmi", "-f", f"{slug}-first", check=False)
