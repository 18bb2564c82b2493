"""Do the lock files hold every package that pyproject.toml asks for, in a version that it allows?

Not here: whether the tests pass with these versions (`make test`, `make test-oldest`, `make test-newest`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))


def pinned(lock: Path) -> dict[str, set[str]]:
    """The versions of each package in a lock file: several where it depends on Python or the system."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            found.setdefault(requirement.name, set()).add(specifier.version)
    return found


def required(lock: Path) -> list[Requirement]:
    extras = EXTRAS["test"] if lock.name.startswith("oldest") else [*EXTRAS["test"], *EXTRAS["dev"]]
    return [one for one in map(Requirement, [*PROJECT["dependencies"], *extras]) if one.name != "dsldec"]


def test_all_lock_files_are_there() -> None:
    assert [lock.name for lock in LOCKS] == [
        "measured-cpu.txt",
        "measured-cuda.txt",
        "oldest-cpu.txt",
        "oldest-cuda.txt",
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_file_holds_what_is_required(lock: Path) -> None:
    versions = pinned(lock)
    for requirement in required(lock):
        assert requirement.name in versions, f"{requirement} is not in {lock.name}: `make lock`"
        wrong = [one for one in versions[requirement.name] if one not in requirement.specifier]
        assert not wrong, (
            f"{lock.name} holds {requirement.name} {wrong}, and {requirement} is required: `make lock`"
        )


@pytest.mark.parametrize(
    "lock", [lock for lock in LOCKS if lock.name.startswith("oldest")], ids=lambda lock: lock.stem
)
def test_the_oldest_versions_are_the_lower_ends_of_the_ranges(lock: Path) -> None:
    versions = pinned(lock)
    for requirement in map(Requirement, PROJECT["dependencies"]):
        lower = next(one.version for one in requirement.specifier if one.operator == ">=")
        assert all(f"{version}.0".startswith(f"{lower}.") for version in versions[requirement.name]), (
            f"{requirement}, {lock.name}: `make lock`"
        )


def test_the_two_files_of_a_lock_agree() -> None:
    for which in ("measured", "oldest"):
        cpu, cuda = (pinned(ROOT / "locks" / f"{which}-{build}.txt") for build in ("cpu", "cuda"))
        assert cpu == {name: versions for name, versions in cuda.items() if name in cpu}
        assert all(name.startswith(("cuda-", "nvidia-", "triton")) for name in cuda.keys() - cpu.keys())
