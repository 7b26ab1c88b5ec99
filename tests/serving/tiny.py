"""A vision transformer with 0.2 million weights, for tests."""

import torchvision
from torchvision.models._api import register_model

__all__ = ["TINY", "register"]

TINY = "serving_tests_tiny_vit"


def register():
    """Add it to torchvision's models; in another process than the tests', this is called first."""
    if TINY not in torchvision.models.list_models():

        @register_model(name=TINY)
        def tiny_vit(weights=None, num_classes=10):
            return torchvision.models.VisionTransformer(64, 16, 2, 4, 64, 128, num_classes=num_classes)


register()
