"""The Dockerfile: built and run where Docker is; elsewhere its steps, in an environment as empty as its base image."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package.test_distribution import copy_of_the_checkout

INSIDE = "/opt/samovar"


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Keyword and the rest of each instruction, in order."""
    text = re.sub(r"\\\n\s*", " ", dockerfile.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def has_docker() -> bool:
    program = shutil.which("docker")
    return program is not None and subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not has_docker(), reason="no Docker engine runs here")
def test_the_image_segments(repository: Path) -> None:
    subprocess.run(["docker", "build", "--tag", "samovar-test", str(repository)], check=True)
    photo = f"{INSIDE}/source/docs/assets/photo.jpg"
    command = ["docker", "run", "--rm", "samovar-test", "segment", photo, "--point", "200,180", "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["masks"][0]["area"] > 0


@pytest.mark.slow
def test_its_steps_run_in_an_empty_environment(repository: Path, tmp_path: Path) -> None:
    """pip and samovar are run as written, under a folder that stands for the image's; users and rights are Docker's."""
    if "SAMOVAR_DIST" not in os.environ:
        pytest.skip("installs everything anew, as the other checks of `nox -s package` do")
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout: there is no list of the files that a clone would hold")
    image = tmp_path / "image"
    copy_of_the_checkout(repository, image / "source")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    environment = {**os.environ, "PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    arguments: dict[str, str] = {}
    ran = []
    for keyword, rest in instructions(repository / "Dockerfile"):
        here = rest.replace(INSIDE, str(image)).replace("/data", str(tmp_path / "data"))
        if keyword == "ARG":
            name, _, arguments[name] = here.partition("=")
        elif keyword == "ENV":
            environment |= {part.partition("=")[0]: part.partition("=")[2] for part in shlex.split(here)}
        elif keyword == "RUN" and here.split()[0] in ("pip", "samovar"):
            command = re.sub(r"\$(\w+)", lambda found: arguments[found[1]], here)
            ran.append(
                subprocess.run(shlex.split(command), env=environment, capture_output=True, text=True, check=True)
            )
    assert json.loads(ran[-1].stdout)["masks"][0]["area"] > 0
    assert list((image / "compiled").rglob("*.nbc"))
    # What the image starts when nothing else is asked for.
    (start,) = (json.loads(rest) for keyword, rest in instructions(repository / "Dockerfile") if keyword == "CMD")
    subprocess.run(["samovar", start[0], "--help"], env=environment, capture_output=True, check=True)
