"""Measure this project beside two baselines, in one run, alternating: `make bench`.

    uv run --with matplotlib python benchmarks/bench.py [--rounds 3] [--csv-gb 5]

The baselines: `seed/`, as in the document that the project was created from, and `common/`, as common
advice has it. All three get the same base image (BASE_IMAGE), index, requirements and versions.
Nobody else's build cache is touched: cold builds use `--no-cache` and a cache mount of their own.
"""

import argparse
import csv
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
VARIANTS = ("ours", "seed", "common")
BASE = os.environ.get("BASE_IMAGE") or "python:3.13-slim-trixie"
SMALL = ["tabulate", "colorama", "toolz", "humanize", "xmltodict", "inflection", "roman"]
PORT = "18899"
TOKEN = "bench"
CELL = "import pandas, matplotlib.pyplot, sklearn.ensemble; print(1 + 1)"
# Through the server, as a browser does: start a kernel, run the cell, wait for the kernel to be idle again.
FIRST_CELL = f"""
import asyncio, json, tornado.httpclient, tornado.websocket
async def main():
    client, head = tornado.httpclient.AsyncHTTPClient(), {{"Authorization": "token {TOKEN}"}}
    made = await client.fetch("http://127.0.0.1:8888/api/kernels", method="POST", body="{{}}", headers=head)
    url = "ws://127.0.0.1:8888/api/kernels/" + json.loads(made.body)["id"] + "/channels?token={TOKEN}"
    socket = await tornado.websocket.websocket_connect(url)
    content = dict(code={CELL!r}, silent=False, store_history=True, user_expressions={{}}, allow_stdin=False)
    header = dict(msg_id="1", msg_type="execute_request", username="", session="1", version="5.3")
    await socket.write_message(json.dumps(dict(header=header, parent_header={{}}, metadata={{}}, channel="shell",
                                               content=content)))
    while True:
        message = json.loads(await socket.read_message())
        if message["msg_type"] == "execute_reply" and message["parent_header"].get("msg_id") == "1":
            assert message["content"]["status"] == "ok", message
            return
asyncio.run(main())
"""
# One way to drop the first column, in a process of its own; prints seconds and peak memory in MB.
CSV = """
import contextlib, io, json, resource, subprocess, sys, time
how, source, output = sys.argv[1:]
if how == "ours":
    for cell in json.load(open("process_cars.ipynb"))["cells"]:
        if cell["id"] in ("helpers", "core"):
            exec("".join(cell["source"]))
start = time.monotonic()
if how == "ours":
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        drop_first_column(source, output)
elif how == "pandas":
    import pandas
    for number, chunk in enumerate(pandas.read_csv(source, dtype=str, keep_default_na=False, chunksize=100_000)):
        chunk.iloc[:, 1:].to_csv(output, mode="a" if number else "w", header=not number, index=False)
else:
    subprocess.run("cut -d, -f2- " + source + " >" + output, shell=True, check=True)
who = resource.RUSAGE_CHILDREN if how == "cut" else resource.RUSAGE_SELF
print(time.monotonic() - start, resource.getrusage(who).ru_maxrss / 1024)
"""


def run(*command: object, cwd: Path | None = None, check: bool = True, **env: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    if check and done.returncode:
        sys.exit(
            f"{command} ended with {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout + done.stderr


class Bench:
    """Three folders to build from, and the figures: one row for each measurement."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.figures = folder, []
        run("cookiecutter", "--no-input", "-o", folder, ROOT, "project_slug=bench-ours")
        for variant in VARIANTS[1:]:
            shutil.copytree(folder / "bench-ours", folder / f"bench-{variant}")
            shutil.copy(HERE / variant / "Dockerfile", folder / f"bench-{variant}")
            (folder / f"bench-{variant}" / ".dockerignore").unlink()
            self.constraints(variant)

    def path(self, variant: str) -> Path:
        return self.folder / f"bench-{variant}"

    def constraints(self, variant: str) -> None:
        """The same versions for pip, without hashes, which it accepts for all libraries or for none."""
        lock = (self.path(variant) / "requirements.lock").read_text()
        lock = re.sub(r" *\\$|^ +(--hash|#).*\n", "", lock, flags=re.MULTILINE)
        (self.path(variant) / "constraints.txt").write_text(lock)

    def add(self, what: str, variant: str, unit: str, value: float) -> None:
        self.figures.append((what, variant, unit, round(value, 3)))
        print(f"{what:36} {variant:8} {value:10.2f} {unit}", flush=True)

    def build(self, variant: str, *args: str) -> tuple[float, str]:
        os.sync()  # or this build also writes to disk what the last one left in memory
        start = time.monotonic()
        log = run(
            "docker", "buildx", "build", "--progress=plain", "--build-arg", f"BASE_IMAGE={BASE}", *args,
            "-t", f"bench-{variant}", self.path(variant),
        )  # fmt: skip
        return time.monotonic() - start, log

    def cold(self, variant: str, number: int) -> None:
        file = self.path(variant) / "Dockerfile"
        text = file.read_text()
        cache = f"type=cache,id=bench-{os.getpid()}-{number},"
        file.write_text(re.sub(r"type=cache,(id=bench[^,]*,)?", cache, text))
        self.add("cold build", variant, "s", self.build(variant, "--no-cache")[0])

    def add_library(self, variant: str, name: str) -> None:
        path = self.path(variant)
        with (path / "requirements.txt").open("a") as file:
            # The comment: or the engine still has the layer of an earlier run.
            file.write(f"{name}  # {os.getpid()}\n")
        run(
            "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--python-version=3.11",
            "--output-file=requirements.lock", "requirements.txt", cwd=path,
        )  # fmt: skip
        if variant != "ours":
            self.constraints(variant)
        seconds, log = self.build(variant)
        self.add("rebuild, one library added", variant, "s", seconds)
        if variant == "ours":
            step = re.findall(r"^#(\d+) .*install /tmp/large\.lock", log, re.MULTILINE)[0]
            self.add("large layer kept", variant, "yes=1", f"#{step} CACHED" in log)

    def change_notebook(self, variant: str) -> None:
        with (self.path(variant) / "data/input/process_cars.ipynb").open("a") as file:
            file.write("\n")
        self.add("rebuild, notebook changed", variant, "s", self.build(variant)[0])

    def sizes(self, variant: str) -> None:
        size = run("docker", "inspect", "--format={{.Size}}", f"bench-{variant}")
        self.add("image", variant, "MB", int(size) / 1e6)
        packed = run("sh", "-c", f"docker save bench-{variant} | gzip | wc -c")
        self.add("image, gzip", variant, "MB", int(packed) / 1e6)

    def start(self, variant: str, compose: bool = False) -> None:
        """Time from the command to an answer of /api, then to the end of the first cell."""
        path, name = self.path(variant), f"bench-{variant}-run"
        up = ("docker", "run", "--detach", "--name", name, "-e", f"JUPYTER_TOKEN={TOKEN}", "-p",
              f"127.0.0.1:{PORT}:8888", "-v", f"{path}/data/input:/data/notebook", f"bench-{variant}")  # fmt: skip
        down = ("docker", "rm", "--force", name)
        env = {"JUPYTER_PORT": PORT, "JUPYTER_TOKEN": TOKEN}
        if compose:
            up, down = (
                ("docker", "compose", "up", "--detach"),
                ("docker", "compose", "down", "--timeout=1"),
            )
        begin = time.monotonic()
        run(*up, cwd=path, **env)
        while True:
            try:
                page = http.client.HTTPConnection("127.0.0.1", int(PORT), timeout=5)
                page.request("GET", "/api")
                if page.getresponse().status == 200:
                    break
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
        seconds = time.monotonic() - begin
        if compose:
            self.add("compose up to /api", "ours", "s", seconds)
        else:
            self.add("start to /api", variant, "s", seconds)
            run("docker", "exec", name, "python", "-c", FIRST_CELL)
            self.add("start to first cell", variant, "s", time.monotonic() - begin)
        run(*down, cwd=path, **env)

    def large_data(self, gigabytes: int) -> None:
        """Build again with a large (sparse) file beside the sample."""
        for size in (0, gigabytes):
            with (self.path("ours") / "data/input/large.csv").open("wb") as file:
                file.truncate(size * 10**9)
            seconds, log = self.build("ours")
            self.add(f"build with {size} GB in data/input", "ours", "s", seconds)
            sent = re.findall(r"transferring context: ([\d.]+)(k?B|MB)", log)
            total = sum(float(n) * {"B": 1e-6, "kB": 1e-3, "MB": 1}[unit] for n, unit in sent)
            self.add(f"context with {size} GB", "ours", "MB", total)
            image = int(run("docker", "inspect", "--format={{.Size}}", "bench-ours")) / 1e6
            self.add(f"image with {size} GB", "ours", "MB", image)
        (self.path("ours") / "data/input/large.csv").unlink()

    def generate(self) -> None:
        one = self.folder / "one"
        (one / "{{cookiecutter.slug}}").mkdir(parents=True, exist_ok=True)
        (one / "cookiecutter.json").write_text('{"slug": "one-file"}')
        (one / "{{cookiecutter.slug}}" / "README.md").write_text("# {{ cookiecutter.slug }}\n")
        os.sync()
        for variant, template in 3 * (("ours", ROOT), ("one file", one)):
            start = time.monotonic()
            run("cookiecutter", "--no-input", "--overwrite-if-exists", "-o", self.folder / "out", template)  # fmt: skip
            self.add("generate a project", variant, "s", time.monotonic() - start)

    def csv_step(self, gigabytes: float, rounds: int) -> None:
        data = self.path("ours") / "data/input"
        (data / "step.py").write_text(CSV)
        run(sys.executable, ROOT / "tests/make_cars.py", data / "body.csv", "--rows=50000")
        header, _, body = (data / "body.csv").read_bytes().partition(b"\n")
        for size, times in ((0.05, rounds), (gigabytes, 1)):
            with (data / "big.csv").open("wb") as file:
                file.write(header + b"\n")
                for _ in range(round(size * 1e9 / len(body))):
                    file.write(body)
                megabytes = file.tell() / 1e6
            for _ in range(times):
                for how in ("ours", "pandas", "cut") if size == 0.05 else ("ours", "cut"):
                    out = run("docker", "run", "--rm", "-v", f"{data}:/data/notebook", "bench-ours",
                              "python", "step.py", how, "big.csv", f"{how}.csv").split()  # fmt: skip
                    self.add(f"CSV step, {size:g} GB", how, "MB/s", megabytes / float(out[0]))
                    self.add(f"CSV step, {size:g} GB, memory", how, "MB", float(out[1]))
        with (data / "big.csv").open("rb") as source, (data / "ours.csv").open("rb") as output:
            same = all(a.partition(b",")[2] == b for a, b in zip(source, output, strict=True))
        self.add("CSV step, values unchanged", "ours", "yes=1", same)
        for name in ("big.csv", "ours.csv", "pandas.csv", "cut.csv", "body.csv", "step.py"):
            (data / name).unlink(missing_ok=True)

    def text_tests(self) -> None:
        start = time.monotonic()
        run("make", "test", "ARGS=-q -m 'not engine and not notebook'", cwd=ROOT)
        self.add("text tests", "ours", "s", time.monotonic() - start)

    def save(self) -> None:
        with (HERE / "results.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("what", "variant", "unit", "value"), *self.figures])

    def clean(self) -> None:
        run("docker", "rm", "--force", *(f"bench-{v}-run" for v in VARIANTS), check=False)
        run("docker", "rmi", "--force", *(f"bench-{v}" for v in VARIANTS), check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure this project beside two baselines.")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "3")))
    parser.add_argument("--csv-gb", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            for number in range(options.rounds):
                for variant in VARIANTS:
                    bench.cold(variant, number)
                for variant in VARIANTS:
                    bench.change_notebook(variant)
                for _ in range(2):
                    for variant in VARIANTS:
                        bench.start(variant)
                    bench.start("ours", compose=True)
                    bench.generate()
                if not number:
                    for variant in VARIANTS:
                        bench.sizes(variant)
                for variant in VARIANTS:
                    bench.add_library(variant, SMALL[number % len(SMALL)])
                bench.save()
            bench.large_data(5)
            bench.csv_step(options.csv_gb, options.rounds)
            bench.text_tests()
        finally:
            bench.save()
            bench.clean()
    run(sys.executable, HERE / "report.py")


if __name__ == "__main__":
    main()
