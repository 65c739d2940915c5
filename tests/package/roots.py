# SPDX-License-Identifier: GPL-2.0-only
"""Bare Debian systems to build and install in: debootstrap and chroot, nothing of this machine."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from threading import Lock

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".cache/package"
SUITES = {"12": "bookworm", "13": "trixie", "sid": "sid"}
DAY = 86_400
# Those that this machine trusts, where ca-certificates does not write.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
TRUSTED = "/etc/trusted-by-the-host.crt"
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
DEBIAN_ITSELF = ("Identifier: Packages", "Origin: Debian", "Label: Debian")
# What a system writes that has nothing to do with what is installed in it.
UNSETTLED = ("dev", "proc", "sys", "tmp", "run", "root", "var/cache", "var/log", "var/lib")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


_making = Lock()


class Root:
    """A system below a directory."""

    def __init__(self, release: str, path: Path) -> None:
        self.release, self.path = release, path
        path.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-f", _tar_of(release), "-C", path], check=True)
        # It is thrown away, so nothing need be safe on the disk.
        (path / "etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n")
        if release == "sid":
            # It is not used for long, and a mirror may lag behind it by more than its dates allow.
            (path / "etc/apt/apt.conf.d/dated").write_text('Acquire::Check-Valid-Until "false";\n')
        (path / "dev").mkdir(exist_ok=True)
        for name in ("etc/resolv.conf", "etc/hosts"):
            shutil.copy(Path("/", name), path / name)
        self._environment = dict(ENVIRONMENT)
        if CERTIFICATES.exists():
            shutil.copy(CERTIFICATES, f"{path}{TRUSTED}")
            self._environment |= {"PIP_CERT": TRUSTED, "SSL_CERT_FILE": TRUSTED}
        self.run("apt-get", "-qq", "update")

    def run(self, *words: str, code: int | None = 0, **environment: str) -> str:
        """Run a command as root in it and return what it said, both streams as one.

        Unless `code` is None the exit code must be that.
        """
        mounts = (
            'mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" '
            '&& mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
        )
        ran = subprocess.run(
            [*NAMESPACES, "sh", "-c", mounts, str(self.path), *words],
            env=self._environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert code in (None, ran.returncode), f"{words}: {ran.returncode}\n{ran.stdout[-5000:]}"
        return ran.stdout

    def shell(self, line: str, **options: str) -> str:
        """Run a line of bash."""
        return self.run("bash", "-euc", line, **options)

    def install(self, *packages: str) -> None:
        """Install packages of Debian, or of files, and what they depend on."""
        self.run("apt-get", "-qq", "-y", "--no-install-recommends", "install", *packages)

    def megabytes(self) -> float:
        """Return what is installed, without what apt itself keeps, in MB."""
        total = self.run("du", "-sxk", "/usr", "/etc", "/opt", "/root")
        return sum(int(line.split()[0]) for line in total.splitlines()) * 1024 / 1e6

    def files(self) -> set[str]:
        """Return all that lies in it but what UNSETTLED names."""
        found = set()
        for folder, folders, names in os.walk(self.path):
            inside = Path(folder).relative_to(self.path)
            folders[:] = [name for name in folders if str(inside / name) not in UNSETTLED]
            found |= {str(inside / name) for name in (*folders, *names)}
        kept = ("var/cache/gretrace", "var/lib/gretrace", "var/lib/systemd")
        return found | {path for path in kept if (self.path / path).exists()}

    def close(self) -> None:
        """Delete it; nothing is mounted in it once its commands have ended."""
        shutil.rmtree(self.path)


def sources(folder: Path) -> Path:
    """Write the sources as `git archive` does, changes that are not committed among them."""

    def git(*words: str) -> bytes:
        return subprocess.run(
            ["git", "-C", PROJECT, *words], capture_output=True, check=True
        ).stdout

    commit = git("stash", "create").decode().strip() or "HEAD"
    folder.mkdir(parents=True)
    archive = git("archive", commit)
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def _mirror() -> str:
    """Return where this machine gets Debian's own packages from."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", *DEBIAN_ITSELF],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told, "no Debian mirror among this machine's apt sources; run apt-get update"
    return told[0]


def _tar_of(release: str) -> Path:
    """Return a bare system, made within the last day."""
    with _making:
        return _make_tar(release)


def _make_tar(release: str) -> Path:
    made = CACHE / f"{release}.tar"
    if made.exists() and time.time() - made.stat().st_mtime < DAY:
        return made
    folder = CACHE / f"{release}.new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        ["debootstrap", "--variant=minbase", SUITES[release], folder, _mirror()],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    subprocess.run(
        ["tar", "-c", "-f", made.with_suffix(".part"), "--exclude=./dev/*", "-C", folder, "."],
        check=True,
    )
    made.with_suffix(".part").rename(made)
    shutil.rmtree(folder)
    return made
