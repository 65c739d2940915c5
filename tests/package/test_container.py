# SPDX-License-Identifier: GPL-2.0-only
"""The image: built on a bare Debian, small, without a compiler, and it runs."""

import os
import shutil
import subprocess

import pytest

from tests.package.roots import CACHE, PROJECT

MEGABYTES = 150
# Without a daemon, without a kernel's overlays, and of no registry.
ENVIRONMENT = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
# What the images of Debian that are called slim leave out, too.
SLIM = (
    "rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/* /usr/share/locale/* /usr/share/man/*"
    " /usr/share/info/*; find /usr/share/doc -type f ! -name copyright -delete;"
    " echo 'path-exclude /usr/share/[ml][ao][nc]*/*' > /etc/dpkg/dpkg.cfg.d/slim"
)

pytestmark = pytest.mark.skipif(
    not shutil.which("buildah"), reason="needs buildah: apt-get install buildah"
)


def buildah(*words, folder=PROJECT):
    ran = subprocess.run(
        ["buildah", *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def image(built, work):
    """The image, from a base that debootstrap made; all that buildah keeps goes afterwards."""
    folder, release = work / "image", built.root.release
    (folder / "dist").mkdir(parents=True)
    shutil.copy(PROJECT / "Containerfile", folder)
    shutil.copy(built.deb, folder / "dist")
    base, name = f"localhost/gretrace-base-{release}", f"localhost/gretrace-test-{release}"
    made = buildah("from", "scratch")
    buildah("add", "-q", made, str((CACHE / f"{release}.tar").resolve()), "/")
    buildah("run", made, "--", "sh", "-c", SLIM)
    buildah("commit", "-q", "--squash", made, base)
    buildah("rm", made)
    buildah(
        *("build", "--pull-never", "--build-arg", f"BASE={base}", "-t", name, "."), folder=folder
    )
    yield name
    buildah("rmi", name, base)


def test_it_is_small_has_no_compiler_and_runs(image):
    size = float(buildah("images", "--format", "{{.Size}}", "--no-trunc", image).split(" MB")[0])
    print(f"{size} MB")
    assert size < MEGABYTES
    running = buildah("from", "--pull-never", image)
    try:
        said = buildah("run", running, "--", "gretrace", "--version")
        assert said.startswith("gretrace ")
        found = buildah("run", running, "--", "sh", "-c", "command -v clang gcc cc make || true")
        assert found == ""
    finally:
        buildah("rm", running)
