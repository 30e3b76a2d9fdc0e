"""File systems in files that can be cut off from their power, for tests as root (RELIABILITY: power cuts)."""
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess

import pytest

from conftest import wait_until

GOINGDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN, which ext4 has too
NO_LOG_FLUSH = 2
KINDS = ("ext4", "xfs")


def private_mounts():
    """
    A mount namespace of this process's own: a copy of a mount in a namespace
    that others make would keep it alive.  False without the right to have one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def own_mounts():
    if not private_mounts():
        pytest.skip("needs root and mount namespaces")


def can_make(kind):
    return shutil.which(f"mkfs.{kind}", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin") is not None


class Disk:
    """A file system of `kind` in the file `image`, mounted at `where`; options go to mkfs."""

    def __init__(self, kind, image, where, size=400 << 20, options=()):
        self.kind, self.image, self.where = kind, image, where
        if not can_make(kind):
            pytest.skip(f"needs mkfs.{kind}")
        with open(image, "wb") as f:
            f.truncate(size)
        subprocess.run([f"mkfs.{kind}", "-q", *options, image], check=True)
        os.makedirs(where, exist_ok=True)
        if subprocess.run(["mount", "-o", "loop", image, where], capture_output=True).returncode != 0:
            pytest.skip(f"cannot mount {kind} here")

    def cut(self):
        """All that was not synced is gone, at once."""
        fd = os.open(self.where, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, GOINGDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self):
        """A process that was killed may take a moment to end."""
        wait_until(lambda: subprocess.run(["umount", self.where], capture_output=True).returncode == 0, 30, "umount")
        wait_until(lambda: not subprocess.run(["losetup", "-n", "-j", self.image], capture_output=True).stdout, 30, "loop device")

    def mount(self, image=None):
        self.image = image or self.image
        subprocess.run(["mount", "-o", "loop", self.image, self.where], check=True)

    def repair(self):
        """Mounted anew, which replays the journal."""
        self.unmount()
        self.mount()

    def sync(self):
        subprocess.run(["sync", "-f", self.where], check=True)

    def remove(self):
        subprocess.run(["umount", "-l", self.where], capture_output=True)
