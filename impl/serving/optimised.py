"""One model, one thread that runs it, and a bounded queue of images in front of it.

Why it is faster than `preloaded`:

- Precision: int8 where the processor has VNNI, bfloat16 where it has that, seven bits with AVX2 (`model.septets`), and
  float32 through oneDNN elsewhere; see `model.int8`, `model.vit` and `model.precision`. A matrix product in int8,
  bfloat16 and float32 reaches 1,720, 857 and 339 GFLOP/s; `preloaded` runs
  at 166.
- In int8 a forward pass is one compiled function without the interpreter, which one core runs alone or all cores run
  together on one image (`model.kernel`), in pieces that an idle core can take over (`model.pieces`).
- Where the processor has AMX, int8 is multiplied in tiles (`model.tiles`).
- Dynamic batching: requests that wait together run together (`runtime.batching`), each core on images of its own
  (`model.cores`).
- Clients send 32 x 32 pictures, and the server resizes them: 64 images are 0.2 MB instead of 38.5, and nothing is
  unpickled (`http.inputs`).
- The allocator keeps freed memory and does not return it to the operating system (`model.cores`).
- It starts from a snapshot of weights that are already laid out, mapped into memory (`model.snapshot`).

What it costs: int8 logits differ from float32's, and up to 3 % of top-1 answers may differ; the first start takes
longer, because it compares the two; and more than 3,000 lines.

The limit: one image takes 15.4 G multiply-adds in ViT-L/32, which are 30.8 GFLOP. The two cores reach at most
1,860 GFLOP/s, from their caches: 16.6 ms for one image, 1.06 s for 64. One image takes 20.5 ms in the model: 17.7 for
matrix products, at 1,700 GFLOP/s although their weights come from memory, 1.5 for attention, 1.2 for the rest.
Decoding, HTTP and the client take another 2.7 ms. 64 images take 1.29 to 1.33 s.

Tried, and no faster (AMD EPYC (Zen 5), 2 cores, torch 2.15, 2026-11-23): oneDNN's matrix products for a single image
took 24 ms instead of 17.7, whether weights were laid out for 50 rows or for those of a chunk, with bfloat16 output,
with huge pages, or with OpenMP threads that spin longer; register blocks of 5 by 64 and of 6 by 64 instead of 10 by 32;
prefetching weights into the second-level cache only; for 32 clients with oneDNN, batches of at most 16 or 32 images
(1.82 and 1.80 s; 1.87 s for 64).

With AMX (Intel Xeon, 2 cores, 2026-11-27) one image takes 28 ms in the model instead of 33 by vector instructions, and
16 images 228 instead of 430. What mattered, on one core with 4 images: rows of activations in groups of 64 columns, and
rows of results that are not 16 KiB apart, or they compete for the same lines of the cache; to make the results of one
block while the next one is multiplied, 13.8 ms of products per image instead of 17.3; for one image, to prefetch
weights into the second-level cache only, 30 ms instead of 39. Chunks of 2, 3, 6 and 8 images took 17 %, 7 %, 4 % and
4 % longer than of 4. One queue of pieces for both cores took 33 ms for one image instead of 28, because a core did not
know which weights to prefetch for its next piece. One image is limited by reading 303 MB of weights: the two cores read
30 GB/s, so it takes at least 10 ms.
"""

from flask import Flask

from .config import ServingConfig
from .http.app import application
from .runtime.service import Service

__all__ = ["build"]


def build(config: ServingConfig) -> Flask:
    """Return the application; its `extensions["serving"]` is the `Service`, which is loading the model already."""
    return application(Service(config))
