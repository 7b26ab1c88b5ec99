"""Wheels, written by hand: what a lock can name without an index, and without a build."""

import base64
import hashlib
import sysconfig
import zipfile
from pathlib import Path


def write_wheel(folder, name, version, files):
    """Write a wheel of these files, {name: text}, into a folder."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    members = dict(files)
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    members[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{member},{_hash(text)},{len(text.encode())}" for member, text in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in members.items():
            wheel.writestr(member, text)
    return path


def write_shared(folder):
    """Write a wheel that brings all that is installed here: pytest, and what the gate imports."""
    return write_wheel(folder, "shared", "1", {"shared.pth": f"{Path(sysconfig.get_path('purelib'))}\n"})


def _hash(text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"
