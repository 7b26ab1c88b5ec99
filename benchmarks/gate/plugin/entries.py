"""What the fixture `against` compares: a variant or an attribute of a package."""

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
    ask = getattr(variant, "unsupported", None)
    reason = ask() if callable(ask) else None
    return None if reason is None else str(reason)
