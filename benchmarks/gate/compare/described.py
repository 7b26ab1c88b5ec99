"""A program that describes the environment of the interpreter that runs it, as JSON: what is installed, and on what.

It imports nothing from this package, because it runs in environments that do not have it.
"""

import importlib.metadata
import json
import platform
import re
import sys
import sysconfig
from typing import Any


def described() -> dict[str, Any]:
    """Return the Python version, what else an installation depends on, and the packages with their versions.

    `folders` are packages that are made of a folder: an editable install, or one of a source tree.
    """
    packages: dict[str, str] = {}
    folders: list[str] = []
    for found in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", found.name or "").lower()
        if not name or name in packages:  # the first one on sys.path is the one that is imported
            continue
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        commit = origin.get("vcs_info", {}).get("commit_id", "")
        packages[name] = f"{found.version} ({commit[:12]})" if commit else found.version
        if "dir_info" in origin:
            folders.append(name)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "identity": [sys.version, sysconfig.get_platform(), sys.base_prefix],
        "packages": dict(sorted(packages.items())),
        "folders": folders,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(described()))
