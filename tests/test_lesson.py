"""docs/lesson.md, typed from top to bottom in one shell, each promised output compared."""

import os
import re
import subprocess
import time
from typing import NamedTuple

import pytest
import yaml
from conftest import ROOT, Project, free_port, is_root

LESSON = ROOT / "docs/lesson.md"
BLOCK = re.compile(r"^ *```console(?P<kind>.*)\n(?P<text>(?:.*\n)*?) *```$", re.MULTILINE)


class Step(NamedTuple):
    command: str
    output: str  # what it promises; empty: nothing is promised


def steps(text: str) -> tuple[list[Step], list[Step]]:
    """Return the steps of the lesson in order, and apart from them the checks of its exercises."""
    found = {"": [], " check": []}
    for block in BLOCK.finditer(text):
        lines = [line.removeprefix("   ") for line in block["text"].splitlines()]
        if block["kind"] == "":
            lines = block["text"].splitlines()
        for part in re.findall(
            r"^\$ .*\n(?:> .*\n)*(?:(?!\$ ).*\n)*", "\n".join([*lines, ""]), re.MULTILINE
        ):
            command = re.match(r"\$ (.*\n(?:> .*\n)*)", part)
            found[block["kind"]].append(
                Step(
                    re.sub(r"^> ", "", command[1], flags=re.MULTILINE),
                    part[command.end() :].strip("\n"),
                )
            )
    return found[""], found[" check"]


def agrees(promised: str, printed: str) -> bool:
    """Whether a text is what was promised, `...` standing for anything in a line, alone for any lines."""
    pattern = ""
    for line in promised.splitlines():
        pattern += (
            r"(?:.*\n)*"
            if line == "..."
            else ".*".join(re.escape(p) for p in line.split("...")) + r"\n"
        )
    plain = re.sub(r"\x1b\[\d*[A-Z]|\r", "", printed).rstrip("\n") + "\n"
    return re.fullmatch(pattern, plain) is not None


class Shell:
    """One bash for the whole lesson."""

    def __init__(self, cwd, env):
        self.files = [cwd / "stdout", cwd / "stderr"]
        self.bash = subprocess.Popen(
            ["bash"], cwd=cwd, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def type(self, command: str) -> tuple[int, str, str]:
        """Run a command; return its exit code and what it printed."""
        out, err = self.files
        self.bash.stdin.write(f"{{\n{command}\n}} </dev/null >{out} 2>{err}; echo $?\n")
        self.bash.stdin.flush()
        return int(self.bash.stdout.readline()), out.read_text(), err.read_text()


def test_the_comparison_can_fail():
    assert agrees("a...c", "abc\n") and not agrees("a...c", "abd\n")
    assert agrees("...\nend", "1\n2\nend\n") and not agrees("...\nend", "1\n2\nend\n3\n")
    assert not agrees("mine", "") and not agrees("3", "13\n")


def test_every_line_of_the_generated_files_is_explained(default_project):
    section = LESSON.read_text(encoding="utf-8").partition("## 8.")[2].partition("## Exercises")[0]
    named = set(re.findall(r"`([\w-]+)`", section))
    dockerfile = (default_project.path / "Dockerfile").read_text(encoding="utf-8")
    dockerfile = re.sub(r"\\\n", "", re.sub(r"^ *#.*\n", "", dockerfile, flags=re.MULTILINE))
    assert set(re.findall(r"^([A-Z]+) ", dockerfile, re.MULTILINE)) - named == set()

    compose = yaml.safe_load((default_project.path / "docker-compose.yml").read_text("utf-8"))

    # Names that the file gives to things are not words of Compose, nor are the settings below them.
    def keys(content, own=False):
        if isinstance(content, dict):
            for key, value in content.items():
                if not own:
                    yield key
                if key not in ("args", "environment") or own:
                    yield from keys(value, own=not own and key in ("services", "secrets"))

    used = set(keys(compose))
    assert used >= {"services", "volumes", "ports", "read_only"}
    assert used - named == set()


@pytest.mark.engine
def test_the_lesson(engine, tmp_path, record_property):
    text = LESSON.read_text(encoding="utf-8")
    slug = f"lesson-{os.getpid()}"
    port, other, students = free_port(), free_port(), free_port()
    for old, new in {
        "gh:org/ml-docker --no-input": f"{ROOT} --no-input project_slug={slug}",
        "my-ml-project": slug,
        "(seq 8801 8830)": f"(seq {students} {students + 1})",  # two students are enough
        "\n30\n": "\n2\n",
        "student": f"{slug}-student",
        # An earlier run of this test must not have left the result in the engine's cache.
        "echo tabulate >>": f"printf 'tabulate\\n# {time.time()}\\n' >>",
        "me:8888": f"me:{port}",
        "127.0.0.1:8888": f"127.0.0.1:{port}",
        "0.0.0.0:8888": f"0.0.0.0:{port}",
        "8899": str(other),
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    lesson, checks = steps(text)
    assert len(lesson) > 40 and len(checks) == 5

    project = Project(tmp_path / slug)
    base = os.environ.get("BASE_IMAGE")
    shell = Shell(tmp_path, os.environ)
    compared = 0

    def follow(step: Step) -> None:
        nonlocal compared
        code, out, err = shell.type(step.command)
        assert code == 0, f"{step.command}ended with {code}\n{out}{err}"
        if step.output:
            assert agrees(step.output, out) or agrees(step.output, err), (
                f"{step.command}{out}{err}\npromised:\n{step.output}"
            )
            compared += 1

    try:
        for step in lesson:
            if step.command.startswith("docker save"):  # the solutions have been typed
                for check in checks:
                    follow(check)
            follow(step)
            if step.command.startswith("uvx"):
                # Settings of this machine, in the file for them, and an owner who is not root.
                (project.path / ".env").write_text(
                    f"JUPYTER_PORT={port}\n" + (f"BASE_IMAGE={base}\n" if base else "")
                )
                if is_root():
                    project.run("chown", "-R", "20345:20345", ".")
        print(f"lesson: {len(lesson) + len(checks)} commands run, {compared} outputs compared")
        record_property("compared", compared)
    finally:
        shell.bash.terminate()
        for folder in [project.path, *tmp_path.glob(f"{slug}-student-*")]:
            if folder.exists():
                Project(folder).compose("down", "--timeout", "1", check=False)
        project.run("docker", "rm", "-f", f"{slug}-with", f"{slug}-without", check=False)
        project.run("docker", "rmi", "-f", slug, f"{slug}-lock", check=False)
