"""Packages for tests: wheels, and repositories that pip builds from."""

import zipfile
from pathlib import Path

from support.git import commit, git


def write_wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """Write a package with an empty module and a template; `needs` are more lines of METADATA."""
    module = name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": "",
        f"{module}_template.py": "def {{ name }}(): ...",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def write_repository(folder: Path, name: str) -> None:
    """Write a git repository with a package, in a form that a plain web server serves."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    commit(folder, "start")
    git(folder, "update-server-info")
