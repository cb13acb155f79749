"""The built distributions, and the README's first command, used the way a newcomer uses them.

Run by `nox -s package`, which builds the distributions and names their folder in `SAMOVAR_DIST`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

README_LIMIT = 120.0  # seconds of CPU, the install included; those of the wall also say how busy the machine is
BASE = {
    "blake3",
    "click",
    "filelock",
    "msgspec",
    "numba",
    "numpy",
    "opencv-python-headless",
    "packaging",
    "pillow",
    "platformdirs",
    "pluggy",
    "tqdm",
    "urllib3",
    "xxhash",
}
# What those bring along themselves.
INDIRECT = {"colorama", "llvmlite", "typing-extensions"}


@pytest.fixture(scope="session")
def dist() -> Path:
    folder = os.environ.get("SAMOVAR_DIST")
    if not folder:
        pytest.skip("SAMOVAR_DIST names no folder of built distributions; run `nox -s package`")
    return Path(folder)


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def inside_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, outside any environment that this process is in."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "SAMOVAR_DIST"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def newcomer(wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel and what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("newcomer")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    programs = folder / "venv" / "bin"
    run(programs / "pip", "install", "-q", "-c", repository / "constraints.txt", wheel, cwd=folder)
    return programs


def test_the_wheel_carries_every_module_and_data_file_of_the_three_packages(
    repository: Path, inside_wheel: set[str]
) -> None:
    roots = ("core/samovar", "plugins/samovar_plugins", "adapters/samovar_adapters")
    expected = {
        str(path.relative_to((repository / root).parent))
        for root in roots
        for path in (repository / root).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - inside_wheel == set()
    assert {f"{Path(root).name}/py.typed" for root in roots} <= inside_wheel
    assert any(name.startswith("samovar_plugins/default/") and name.endswith(".npz") for name in inside_wheel)


def test_the_wheel_carries_nothing_else(inside_wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in inside_wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"samovar", "samovar_plugins", "samovar_adapters"}
    # The templates of `samovar plugins new` have tests, which are for the plugin that is made from them.
    ours = {name for name in inside_wheel if not name.startswith("samovar/scaffold/")}
    assert [name for name in ours if "__pycache__" in name or "/tests/" in name] == []


def test_the_sdist_carries_what_the_checks_need_and_no_build_output(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "noxfile.py", "constraints.txt", "tests/conftest.py"} <= names
    assert not any(
        part in {".nox", ".venv", "__pycache__", "dist", "site"} for name in names for part in name.split("/")
    )


def test_the_base_install_brings_only_what_it_says(newcomer: Path) -> None:
    listed = run(newcomer / "pip", "list", "--format=freeze", cwd=newcomer)
    names = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in listed.splitlines()}
    assert names >= BASE
    assert names - BASE - INDIRECT == {"samovar", "pip", "setuptools"} & names


def test_a_newcomer_can_ask_what_is_there(newcomer: Path, tmp_path: Path) -> None:
    assert "default" in run(newcomer / "samovar", "models", cwd=tmp_path)
    assert run(newcomer / "samovar", "doctor", cwd=tmp_path)


def test_a_newcomer_can_segment_the_demo_photo(newcomer: Path, photo: Path, tmp_path: Path) -> None:
    box = ("--box", "75,68,484,392")
    run(newcomer / "samovar", "segment", photo, *box, "--format", "png", "--out", "masks", cwd=tmp_path)
    assert list((tmp_path / "masks").rglob("*.png"))


def copy_of_the_checkout(repository: Path, target: Path) -> None:
    """What a fresh clone of the working tree would hold."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=repository)
    for line in listed.splitlines():
        if (repository / line).is_file():
            (target / line).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / line, target / line)


def test_the_first_command_of_the_readme_works_on_a_fresh_copy(dist: Path, repository: Path, tmp_path: Path) -> None:
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout: there is no list of the files that a clone would hold")
    copy_of_the_checkout(repository, tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```", (tmp_path / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (out,) = re.findall(r"--out (\S+)", blocks[0])
    before = os.times()
    run("bash", "-euo", "pipefail", "-c", blocks[0], cwd=tmp_path)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    assert spent < README_LIMIT
    assert (tmp_path / out).stat().st_size > 10_000
