"""Power cuts of the whole suite, the short version (power.py has the how; `make proof` the long one)."""
import os

import pytest

import power
from disk import own_mounts  # noqa: F401 (a fixture)

SEED = int(os.environ.get("PP_SEED", "3"))


@pytest.fixture()
def folder(tmp_path, own_mounts):
    os.chmod(tmp_path, 0o755)
    return str(tmp_path)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_under_load(folder, kind):
    assert power.cuts(folder, kind, False, 3, SEED) > 10


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_when_idle(folder, kind):
    assert power.cuts(folder, kind, True, 2, SEED) == 2


def test_snapshots(folder):
    assert power.snapshots(folder, 3, SEED) > 10
