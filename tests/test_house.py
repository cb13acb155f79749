"""The repository itself: what it must not contain, what must stay true of it, and what starting up may cost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

START_UP_BUDGET = 0.3  # seconds of CPU

# Spelled so that this file does not find itself.
FORBIDDEN = [
    re.compile(r"/(?:work|root|home/\w+)/"),
    re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    re.compile(r"/" + r"opt/(?:pypi|wheels)"),
    re.compile(r"\b(?:DESIGN|STYLE|FACTS|CONTRACT)\.md\b"),
]


def tracked_files(repository: Path) -> list[Path]:
    """What git would commit; everything but build output where this is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        return [path for line in listed.stdout.splitlines() if (path := repository / line).is_file()]
    skipped = {".venv", ".nox", "build", "dist", "site", "__pycache__"}
    return [path for path in repository.rglob("*") if path.is_file() and not skipped & set(path.parts)]


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def readme_commands(repository: Path) -> list[str]:
    """The shell blocks of the README, in order."""
    return re.findall(
        r"^```sh\n(.*?)^```", (repository / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def cpu_seconds(*arguments: str) -> float:
    """User and system CPU time of one Python process with these arguments."""
    timed = (
        "import os, subprocess, sys\n"
        "before = os.times()\n"
        "subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)\n"
        "after = os.times()\n"
        "print(after.children_user - before.children_user + after.children_system - before.children_system)\n"
    )
    done = subprocess.run([sys.executable, "-c", timed, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("-c", "import samovar"), ("-m", "samovar", "--help")], ids=["import samovar", "samovar --help"]
)
def test_start_up_stays_under_its_cpu_budget(arguments: tuple[str, ...]) -> None:
    cpu_seconds(*arguments)  # writes bytecode caches
    assert min(cpu_seconds(*arguments) for _ in range(5)) < START_UP_BUDGET


def modules_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh process after running `code`."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"numpy", "cv2", "numba", "PIL", "torch", "scipy", "transformers", "skimage", "sklearn"}


def test_importing_samovar_loads_nothing_heavy() -> None:
    assert not modules_after("import samovar") & HEAVY


def test_that_a_heavy_import_would_be_seen() -> None:
    assert "numpy" in modules_after("import samovar, numpy")


def test_no_machine_paths_or_left_overs_in_the_tree(repository: Path) -> None:
    found = [
        f"{path.relative_to(repository)}:{number}: {line.strip():.100}"
        for path in tracked_files(repository)
        if path != Path(__file__).resolve() and (text := text_of(path)) is not None
        for number, line in enumerate(text.splitlines(), 1)
        if any(pattern.search(line) for pattern in FORBIDDEN)
    ]
    assert found == []


def test_changelog_fragments_are_well_formed(repository: Path) -> None:
    for path in (repository / "changelog.d").iterdir():
        if path.name == "README.md":
            continue
        assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md", path.name), path.name
        text = path.read_text(encoding="utf-8").strip()
        assert text.endswith((".", "`", ")")), path.name
        assert text[0].isupper() or text[0] == "`", path.name
        assert not text.startswith("#"), path.name


def test_the_readme_opens_with_a_picture_and_two_commands(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    first, second, *_ = readme_commands(repository)
    for command in (first, second):
        assert len(command.strip().splitlines()) == 1
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
    photo = re.search(r"samovar segment (docs/assets/\w+\.jpg) ", first)
    assert photo
    assert (repository / photo[1]).is_file()
    assert second.rstrip().endswith("pytest -n auto")
    for place in ("CONTRIBUTING.md", ".ci/run"):
        assert second.strip() in (repository / place).read_text(encoding="utf-8"), place
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text[: text.index("```")])
    assert pictures
    assert all((repository / picture).is_file() for picture in pictures)


def test_every_extra_is_explained_and_something_asks_for_it(repository: Path) -> None:
    settings = (repository / "pyproject.toml").read_text(encoding="utf-8")
    table = settings.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = re.findall(r"^([\w-]+) = \[", table, re.MULTILINE)
    assert extras
    explained = (repository / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    assert [extra for extra in extras if not re.search(rf"^\| .*`{extra}`.* \|", explained, re.MULTILINE)] == []
    files = [path for path in tracked_files(repository) if path.suffix in {".py", ".md"}]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    # A spec names it, or a message or a page says to install it.
    assert [extra for extra in extras if f'extra="{extra}"' not in text and f"samovar[{extra}]" not in text] == []


def test_every_picture_has_its_licence_or_its_recipe_written_down(repository: Path) -> None:
    assets = repository / "docs" / "assets"
    said = (assets / "README.md").read_text(encoding="utf-8") + (assets / "make_pictures.sh").read_text(
        encoding="utf-8"
    )
    pictures = [path.name for path in assets.iterdir() if path.suffix in {".png", ".jpg", ".svg"}]
    assert [name for name in pictures if name not in said] == []


def test_the_ci_script_refuses_to_run_without_the_test_data(repository: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(repository / ".ci" / "run")],
        env={"PATH": "/usr/bin:/bin", "SAMOVAR_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "SAMOVAR_DATA" in done.stderr
