"""Results on their way from a side's process to the referee: each is sent once, and then named by its digest.

Work mostly returns the same result each time, and it may be large: 100,000 rows of tokens are some 50 MiB. So a result
that equals one of the last few, byte for byte, is not sent again, and the referee gets the same object as before.

torch pickles the whole storage of each tensor: an epoch whose 3,000 batches are views of one array would be sent 3,000
times. So tensors are sent as NumPy arrays of their own elements.
"""

import copyreg
import hashlib
import io
import pickle
import sys
from dataclasses import dataclass
from typing import Any

KEPT = 4  # results, at both ends


class UnsendableError(TypeError):
    """A result cannot be pickled; the message says what to return instead."""


@dataclass(frozen=True)
class Parcel:
    """A result's digest, and its pickled form unless it was sent before."""

    digest: bytes
    content: tuple[bytes, list[bytes]] | None


class Sender:
    """The side's end."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._sent: dict[bytes, None] = {}

    def pack(self, result: Any) -> Parcel:
        """Return a result's parcel.

        Raises:
            UnsendableError: It cannot be pickled.
        """
        buffers: list[pickle.PickleBuffer] = []
        try:
            body = _pickled(result, buffers)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UnsendableError(
                f"the result cannot be sent to another process, return data or a digest: {error}"
            ) from error
        views = [buffer.raw() for buffer in buffers]
        total = hashlib.blake2b(body, digest_size=16)
        for view in views:
            total.update(view)
        digest = total.digest()
        if digest in self._sent:
            return Parcel(digest, None)
        _keep(self._sent, digest, None)
        return Parcel(digest, (body, [bytes(view) for view in views]))


class Receiver:
    """The referee's end."""

    def __init__(self) -> None:
        """Begin with nothing received."""
        self._results: dict[bytes, Any] = {}

    def unpack(self, parcel: Parcel) -> Any:
        """Return a parcel's result; the same object for the same digest.

        Raises:
            AttributeError, ImportError: This tree does not have the result's type.
        """
        if parcel.content is not None:
            body, buffers = parcel.content
            # Buffers that can be written: NumPy and torch would refuse or warn of the others when they are used.
            _keep(self._results, parcel.digest, pickle.loads(body, buffers=[bytearray(b) for b in buffers]))  # noqa: S301 - from our own process
        return self._results[parcel.digest]


def _pickled(result: Any, buffers: list[pickle.PickleBuffer]) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5, buffer_callback=buffers.append)
    if torch := sys.modules.get("torch"):
        pickler.dispatch_table = {**copyreg.dispatch_table, torch.Tensor: _reduced}
    pickler.dump(result)
    return file.getvalue()


def _reduced(tensor: Any) -> Any:
    """Return how pickle makes a tensor anew: by its bytes, since NumPy does not know bfloat16."""
    import torch  # noqa: PLC0415 - the gate works in suites without torch

    plain = tensor.layout == torch.strided and not (tensor.is_conj() or tensor.is_neg() or tensor.is_quantized)
    if tensor.device.type != "cpu" or not plain:
        return tensor.__reduce_ex__(5)
    elements = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return _tensor, (elements, tensor.dtype, tuple(tensor.shape))


def _tensor(elements: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    import torch  # noqa: PLC0415 - the gate works in suites without torch

    return torch.from_numpy(elements).view(dtype).reshape(shape)


def _keep(results: dict[bytes, Any], digest: bytes, result: Any) -> None:
    """Add a result, and drop the oldest if there are too many. Both ends do the same, and so keep the same."""
    results[digest] = result
    if len(results) > KEPT:
        del results[next(iter(results))]
