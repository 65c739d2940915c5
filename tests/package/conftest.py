# SPDX-License-Identifier: GPL-2.0-only
"""What is built once for all tests of this folder."""

import fcntl
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.package.roots import CACHE, Root, sources

# script/package-test says for which releases of Debian; without it nothing is built.
RELEASES = os.environ.get("GRETRACE_PACKAGE", "").split()


# Before pytest puts together what is built for one release.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    # Whichever comes first is charged with the build of the packages: not the one of the image,
    # of which its set-up then says what it takes.
    items.sort(key=lambda item: item.path.name == "test_container.py")
    if not RELEASES:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs minutes: script/package-test"))


@pytest.fixture(scope="session")
def work():
    folder = CACHE / "work"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit(f"the packages are already tested in {CACHE}", returncode=1)
        if folder.exists():  # of a run that was ended
            shutil.rmtree(folder)
        folder.mkdir()
        yield folder
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def tree(work):
    return sources(work / "tree")


@dataclass(frozen=True)
class Built:
    """What came out of the sources, on one release of Debian."""

    root: Root
    deb: Path
    again: Path  # the same, built in another folder
    wheel: Path
    sdist: Path
    lintian: str
    log: str
    bare: Future[Root]  # another system, with nothing in it


def build(release, tree, folder, bare):
    root = Root(release, folder)
    for name in ("one", "two"):
        shutil.copytree(tree, folder / "build" / name / "gretrace")
    root.run("apt-get", "-qq", "-y", "--no-install-recommends", "build-dep", "/build/one/gretrace")
    root.install("build-essential", "lintian", "python3-build", "python3-venv")
    log = root.shell("cd /build/one/gretrace && dpkg-buildpackage -us -uc")
    root.shell(
        "cd /build/two/gretrace && dpkg-buildpackage -us -uc -b", DEB_BUILD_OPTIONS="nocheck"
    )
    # The tree of a build holds more than its sources.
    shutil.copytree(tree, folder / "build/three/gretrace")
    root.shell("cd /build/three/gretrace && python3 -m build --no-isolation -o /build/dist")
    lintian = root.shell(
        "cd /build/one && lintian --info --tag-display-limit 0 *.changes", code=None
    )
    (deb,) = folder.glob("build/one/*.deb")
    (wheel,) = folder.glob("build/dist/*.whl")
    (sdist,) = folder.glob("build/dist/*.tar.gz")
    return Built(root, deb, folder / "build/two" / deb.name, wheel, sdist, lintian, log, bare)


@pytest.fixture(scope="session")
def bare_systems(work):
    """A bare system of each release, made while another is built in."""
    with ThreadPoolExecutor() as pool:
        Root(RELEASES[0], work / "first").close()
        yield {r: pool.submit(Root, r, work / f"bare-{r}") for r in RELEASES}


@pytest.fixture(scope="session", params=RELEASES or ["none"])
def built(request, tree, work, bare_systems):
    release = request.param
    made = build(release, tree, work / f"build-{release}", bare_systems[release])
    yield made
    made.root.close()


@pytest.fixture(scope="session")
def bare(built):
    """A system with Debian's python3 and nothing else."""
    root = built.bare.result()
    root.install("python3")
    return root
