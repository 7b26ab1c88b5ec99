"""The classifiers that torchvision has, by name."""

from typing import Any

__all__ = ["builder"]


def builder(name: str) -> Any:
    """Return the torchvision function that builds a model.

    Raises:
        ValueError: There is no such classifier.
    """
    import torchvision  # noqa: PLC0415 - takes a second, and a start from a snapshot does not need it

    models = torchvision.models
    classifiers = [*models.list_models(module=models), *_registered()]
    if name not in classifiers:
        raise ValueError(
            f"torchvision has no classifier {name[:200]!r}; it has, among others, {', '.join(classifiers[-8:])}"
        )
    return models.get_model_builder(name)


def _registered() -> list[str]:
    """Return the models that others have registered with torchvision."""
    import torchvision  # noqa: PLC0415 - see above

    models = torchvision.models
    return [n for n in models.list_models() if not models.get_model_builder(n).__module__.startswith("torchvision.")]
