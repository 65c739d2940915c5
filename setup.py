# SPDX-License-Identifier: GPL-2.0-only
"""What pyproject.toml cannot say of the build: BPF objects, pages, completions, commit, scripts."""

import os
import shutil
import subprocess
import sys
from distutils.command.install_data import install_data
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
COMMIT = Path("gretrace/commit.txt")
LICENSE = "GPL-2.0-only"
PACKAGES = "on Debian and Ubuntu: apt install clang libbpf-dev llvm make"


class BuildWithObjects(build_py):
    """Build the package, and what `make -C bpf` adds to it."""

    def run(self) -> None:
        """Build into a folder that holds nothing older."""
        require_tools()
        if self.editable_mode:
            super().run()
            make()
            return
        package = Path(self.build_lib, "gretrace")
        shutil.rmtree(package, ignore_errors=True)
        super().run()
        make(package / "objects")
        write_commit(Path(self.build_lib, COMMIT))


class InstallPages(install_data):
    """Put the manual pages and completions that man/pages.py writes below share/."""

    def run(self) -> None:
        """Write them from the commands that were just built."""
        build = self.get_finalized_command("build")
        made = Path(build.build_base, "pages")
        shutil.rmtree(made, ignore_errors=True)
        environment = {**os.environ, "PYTHONPATH": build.build_lib, "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, HERE / "man/pages.py", made], env=environment, check=True)
        self.data_files = [
            (str(folder.relative_to(made)), sorted(str(f) for f in folder.iterdir() if f.is_file()))
            for folder in sorted(made.rglob("*"))
            if folder.is_dir()
        ]
        super().run()


class SdistWithCommit(sdist):
    """The sources, which from then on know their commit."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Make the tree that is packed."""
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir, "src", COMMIT))


def require_tools() -> None:
    """Raise SystemExit, with one line, unless the objects can be built here."""
    clang = os.environ.get("CLANG", "clang")
    for tool in ("make", clang, os.environ.get("LLVM_STRIP", "llvm-strip")):
        if not shutil.which(tool):
            raise SystemExit(
                f"gretrace: {tool} is missing, which builds the BPF objects; {PACKAGES}"
            )
    preprocessed = subprocess.run(
        [clang, "-E", "-P", "-x", "c", "-"],
        input="#if __has_include(<bpf/bpf_core_read.h>)\nfound\n#endif\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if preprocessed.stdout.strip() != "found":
        raise SystemExit(f"gretrace: libbpf's headers are missing (bpf_core_read.h); {PACKAGES}")


def make(objects: Path | None = None) -> None:
    """Run make in bpf/; without `objects` into the source tree, to be edited there."""
    # Relative, since make takes a space in a path for the end of a name.
    told = [f"OBJECTS={os.path.relpath(objects, HERE / 'bpf')}"] if objects else []
    if subprocess.run(["make", "-s", "-C", HERE / "bpf", *told], check=False).returncode:
        raise SystemExit("gretrace: the BPF objects cannot be built; what make said is above")


def write_commit(path: Path) -> None:
    """Name the commit in a copy of src/gretrace/commit.txt, where git knows it.

    An archive (git archive, an sdist) names it already, and has no repository.
    """
    if not path.read_text().startswith("$") or not shutil.which("git"):
        return
    asked = subprocess.run(
        ["git", f"--git-dir={HERE / '.git'}", "rev-parse", "--verify", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode == 0:
        path.unlink()  # sdist may have linked it to the source's own
        path.write_text(asked.stdout)


# setuptools before 77 knows no License-Expression (PEP 639), and leaves it out.
setup(
    cmdclass={
        "build_py": BuildWithObjects,
        "install_data": InstallPages,
        "sdist": SdistWithCommit,
    },
    data_files=[("share", [])],  # else install_data does not run
    license=LICENSE,
    scripts=["launch/gretrace", "launch/gretrace-python"],
    license_expression=LICENSE,
)
