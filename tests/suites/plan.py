# SPDX-License-Identifier: GPL-2.0-only
"""Which lab tests run in which kernel, by which engine, and how they share the time.

A suite is what runs in one boot, with one engine.
"""

from dataclasses import dataclass

LAB = "tests/lab"

# What does not depend on the kernel runs in one of them.
ONE_KERNEL = "6.12"
IN_ONE_KERNEL = {
    f"{LAB}/test_examples.py": "each example shows what another test proves in every kernel",
    f"{LAB}/test_watching.py::test_text_is_what_a_person_reads": "text is made of a report",
    f"{LAB}/test_watching.py::test_color_is_by_choice": "color is put around text",
    f"{LAB}/test_hostile_names.py": (
        "names are read, quoted and shown by gretrace alone; no kernel changes one"
    ),
    f"{LAB}/test_lifecycle.py::test_errors_are_one_line_and_leave_nothing_attached": (
        "what is wrong is found before anything is attached"
    ),
    f"{LAB}/test_lifecycle.py::test_nobody_explains_with_the_capabilities_of_readme": (
        "what each is for is the same since 5.8"
    ),
}

# The whole lab: what distributions ship, and the newest kernel.
WHOLE = ("6.1", "6.12", "sid")
PARTS = 2

# What both commands stand on. By bcc each start of a command is a compilation, so there goes
# little more; the oldest kernel has no BTF of its modules and gives no reason for a drop.
BOTH = ("test_faults.py", "test_counts.py", "test_nat.py", "test_lookup.py")

# (name, kernel, engine, options of script/vm, files)
SOME = (
    ("5.10", "5.10", "auto", (), ("test_respond.py", "test_many.py", *BOTH)),
    ("5.10-no-btf", "5.10", "auto", ("--without-btf",), BOTH),
    ("6.1-bcc", "6.1", "bcc", (), (*BOTH, "test_lookup_engine.py", "test_lifecycle.py")),
    # Threads where other kernels have interrupts: counts and answers must stay exact.
    (
        *("6.12-rt", "6.12-rt", "auto", ()),
        ("test_faults.py", "test_refused.py", "test_counts.py", "test_respond.py"),
    ),
)
KERNELS = ("6.1", "6.12", "sid", "5.10", "6.12-rt")

# Seconds that a file took in 6.12, for where no run on this machine has told yet. Only their
# proportions count; .cache/seconds.json has them as measured.
SECONDS = {
    "test_examples.py": 180,
    "test_lookup_engine.py": 70,
    "test_respond.py": 70,
    "test_field_quiet.py": 70,
    "test_delivery.py": 58,
    "test_differential.py": 50,
    "test_filtering.py": 48,
    "test_many.py": 47,
    "test_way.py": 38,
    "test_hostile_names.py": 35,
    "test_healthy.py": 25,
    "test_field_sending.py": 23,
    "test_read.py": 23,
    "test_watching.py": 23,
    "test_lookup.py": 20,
    "test_field_blind.py": 20,
    "test_apart.py": 18,
    "test_field_segments.py": 16,
}
OTHER = 10
COMPILING = 3  # by bcc everything takes so many times longer, and so without BTF


@dataclass(frozen=True)
class Suite:
    """Tests of one boot."""

    name: str
    kernel: str
    engine: str = "auto"
    options: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()  # files
    deselected: tuple[str, ...] = ()  # tests of these files that run in another kernel
    expression: str | None = None  # pytest's -k
    whole: bool = False  # part of a whole lab, of which every cause must be seen
    seconds: float = 0  # expected
    timeout: int = 1200  # seconds, where there is no kernel to boot: a guest looks to its own
    places: int = 1  # that it takes of those that may run at once


# What runs without a guest, on this machine's kernel. Some of it is held to seconds.
HERE = Suite(name="here", kernel="", engine="both", places=2)
# Builds the packages, and installs them in a bare system.
PACKAGES = Suite(name="packages", kernel="", engine="-", tests=("tests/package",), seconds=400,
                 timeout=2400)  # fmt: skip


def native(kernels, expression=None):
    """Suites that need no guest, beside those of `kernels`; an `expression` means the lab alone."""
    if expression:
        return []
    return [HERE, PACKAGES] if set(kernels) == set(KERNELS) else [HERE]


def seconds_of(name, kernel, engine, measured):
    """Expected seconds of a file: as measured in that kernel by that engine, else as a rule."""
    known = measured.get(f"{kernel} {engine}", {}).get(name)
    factor = COMPILING if engine == "bcc" else 1
    return known if known is not None else SECONDS.get(name, OTHER) * factor


def split(weights, parts):
    """Share named weights out evenly: the heaviest first, each to the lightest part."""
    shares = [[] for _ in range(min(parts, len(weights)))]
    for name in sorted(weights, key=lambda name: (-weights[name], name)):
        min(shares, key=lambda share: sum(weights[n] for n in share)).append(name)
    return [sorted(share) for share in shares]


def plan(kernels, files, measured=None, expression=None):
    """Suites for `kernels`, the longest first.

    `files` are the names of all lab tests' files; `measured` are seconds of earlier runs, as
    `seconds_of` wants them. With an `expression` the whole lab of a kernel is one suite.
    """
    measured = measured or {}
    suites = []

    def add(name, kernel, engine, options, names, **more):
        compiles = "bcc" if "--without-btf" in options else engine
        suites.append(
            Suite(
                name, kernel, engine, options,
                tests=tuple(f"{LAB}/{n}" for n in names),
                seconds=sum(seconds_of(n, kernel, compiles, measured) for n in names),
                expression=expression,
                **more,
            )
        )  # fmt: skip

    for kernel in kernels:
        if kernel in WHOLE:
            elsewhere = IN_ONE_KERNEL if kernel != ONE_KERNEL and not expression else ()
            names = [n for n in files if f"{LAB}/{n}" not in elsewhere]
            weights = {n: seconds_of(n, kernel, "auto", measured) for n in names}
            shares = split(weights, 1 if expression else PARTS)
            for letter, share in zip("abcdefgh", shares, strict=False):
                ids = tuple(
                    t for t in elsewhere if t.partition("::")[0] in {f"{LAB}/{n}" for n in share}
                )
                name = kernel if expression else f"{kernel}-{letter}"
                add(name, kernel, "auto", (), share,
                    deselected=ids, whole=not expression)  # fmt: skip
            if expression:
                continue
        for name, of, engine, options, names in SOME:
            if of == kernel and not (expression and name != kernel):
                add(name, of, engine, options, names)
    return sorted(suites, key=lambda suite: -suite.seconds)
