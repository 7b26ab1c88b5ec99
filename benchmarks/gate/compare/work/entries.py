"""What a test of `against` names: a variant of a package, or one of its attributes.

Imports nothing but the standard library, see `compare.work`.
"""

from types import ModuleType
from typing import Any


def entry(package: ModuleType | None, name: str) -> Any:
    """Return the variant of that name, or else the attribute; None if there is neither.

    Modules do not count: that of a variant often has its name.
    """
    variants = getattr(package, "VARIANTS", {})
    found = variants[name] if name in variants else getattr(package, name, None)
    return None if isinstance(found, ModuleType) else found


def unsupported(variant: Any) -> str | None:
    """Return why this machine cannot run a variant; None if it can, or if the variant has no answer."""
    answer = getattr(variant, "unsupported", None)
    reason = answer() if callable(answer) else None
    return None if reason is None else str(reason)
