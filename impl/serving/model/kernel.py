"""The vision transformer in int8 as one compiled function, which one core runs alone or several run as a team.

`forward` takes patches to logits without the interpreter. So it does not ask for the GIL, for which the threads that
answer requests compete, once per product, which is 150 times per image; and it allocates nothing.

The members of a team share out the columns of each matrix product and the rows of everything else, in pieces. A step
begins when all pieces of the step before are done (`pieces`).

What multiplies codes is chosen by their array when the function is compiled: `tiles.multiply_tiles` for uint8 [width /
64, rows, 64], `products.multiply_bytes` for uint8 [rows, width], and `septets.multiply_septets` for int8 [rows, width].
"""

import numpy as np
from numba import njit

from ...shared.kept import kept
from .pieces import PIECES, pieces_of_step
from .products import FEW, LANES, ROWS, multiply_bytes, multiply_floats
from .rows import ONE, OPTIONS, encode, gelu, layer_norm, softmax, step_of
from .septets import multiply_septets
from .tiles import DEPTH, multiply_tiles

__all__ = ["LAYER_STEPS", "STEPS", "cut", "forward"]

STEPS, LAYER_STEPS = 3, 9
"""Steps of `forward`: before the layers, and in each layer."""

SEVEN_BITS = np.iinfo(np.int8).max
"""The greatest code of seven bits."""


@njit(**OPTIONS)
def _attention(mixed, hidden, image, head, tokens, width, keys, scores, out):
    """Compute attention for one head of one image: `mixed`, float32 [rows, 3 * hidden], to `out`, [rows, hidden].

    The rows of both are as far apart as the arrays are wide, which may be more. `keys`, [width, padded tokens], and
    `scores`, [tokens, padded tokens], are scratch memory.
    """
    wide, padded, row = mixed.shape[1], keys.shape[1], image * tokens
    scale = ONE / np.sqrt(np.float32(width))
    for token in range(tokens):
        for j in range(width):
            keys[j, token] = mixed[row + token, hidden + head * width + j] * scale
    queries = row * wide + head * width
    multiply_floats(mixed, queries, wide, width, tokens, keys, 0, padded, padded // LANES, scores, 0, padded)
    softmax(scores, tokens)
    target = row * out.shape[1] + head * width
    multiply_floats(
        scores, 0, padded, tokens, tokens, mixed, queries + 2 * hidden, wide, width // LANES, out, target, out.shape[1]
    )


@njit(**OPTIONS)
def _product(piece, pieces, scratch, codes, steps, zeros, rows, weights, layer, then, out, add):
    """Multiply `rows` rows by one piece of a matrix's panels, and prefetch `then`, the panels of the next product."""
    panels, scales, totals, bias = weights[0][layer], weights[1][layer], weights[2][layer], weights[3][layer]
    first, last = len(panels) * piece // pieces, len(panels) * (piece + 1) // pieces
    # A member's next piece is usually the following one of its share; after the last one the next product begins.
    coming = panels[last] if (piece + 1) % PIECES else then[len(then) * (piece + 1 - PIECES) // pieces]
    if codes.ndim == 3:
        of_rows, of_columns = (steps, zeros), (scales, totals, bias)
        multiply_tiles(scratch, rows, codes, of_rows, panels, of_columns, first, last, coming, out, add)
    elif np.iinfo(codes.dtype).max == SEVEN_BITS:  # a constant, so that only one of the two is compiled
        inner, blocks = codes.shape[1], (rows + ROWS - 1) // ROWS
        of_rows, of_columns = (steps, zeros), (scales, totals, bias)
        multiply_septets(codes, inner, of_rows, blocks, panels, of_columns, first, last, out, out.shape[1], add)
    else:
        inner, blocks = codes.shape[1], (rows + ROWS - 1) // ROWS
        multiply_bytes(
            codes,
            inner,
            steps,
            zeros,
            blocks,
            panels,
            scales,
            totals,
            bias,
            first,
            last,
            coming,
            out,
            out.shape[1],
            add,
        )


@njit(**OPTIONS)
def _quantise(row, i, codes, steps, zeros):
    """Quantise `row`, float32 [n], to row `i` of the codes."""
    steps[i], zeros[i] = step_of(row, codes)
    if codes.ndim == 3:
        for j in range(len(codes)):
            encode(row[j * DEPTH : (j + 1) * DEPTH], steps[i], zeros[i], codes[j, i])
    else:
        encode(row, steps[i], zeros[i], codes[i])


@njit(**OPTIONS)
def _quantise_rows(piece, pieces, rows, values, width, apart, codes, steps, zeros):
    """Quantise one piece of the rows; row i is the first `width` numbers of `values[i * apart]`."""
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        _quantise(values[i * apart, :width], i, codes, steps, zeros)


@njit(**OPTIONS)
def _layer_norm_rows(piece, pieces, rows, stream, gain, bias, normed, codes, steps, zeros):
    """Apply LayerNorm to one piece of the rows, and quantise them."""
    hidden = len(gain)
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        layer_norm(stream[i, :hidden], gain, bias, normed[i])
        _quantise(normed[i, :hidden], i, codes, steps, zeros)


@njit(**OPTIONS)
def _gelu_rows(piece, pieces, rows, wide, width, codes, steps, zeros):
    """Apply GELU to one piece of the MLP's hidden activations, and quantise them."""
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        gelu(wide[i, :width])
        _quantise(wide[i, :width], i, codes, steps, zeros)


@njit(**OPTIONS)
def _embed_rows(piece, pieces, rows, embedded, positions, stream):
    """Write one piece of the first layer's input: class tokens, and embedded patches with positions."""
    tokens, hidden = positions.shape
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        image, token = i // tokens, i % tokens
        stream[i, :hidden] = positions[token]
        if token:
            stream[i, :hidden] += embedded[image * (tokens - 1) + token - 1, :hidden]


@kept(**OPTIONS)
def forward(member, counters, images, heads, positions, products, norms, head, buffers, scratch):
    """Compute logits from patches. The members of a team call it with the same arguments but their own number.

    The result is complete when member 0 returns. The others need not have begun then, and write nothing any more.

    Args:
        member: This member's number, from 0.
        counters: `pieces.counters_of` STEPS + LAYER_STEPS * layers steps.
        images: Images in the batch.
        heads: Heads of the attention.
        positions: float32 [tokens, hidden]; the class token is added to the first.
        products: The matrices embed, qkv, out, up and down of all layers: panels, int8 [layers, columns / 32, bytes],
            and scales, totals and bias, float32 [layers, columns].
        norms: The two LayerNorms of all layers: gain and bias, float32 [layers, hidden].
        head: The last LayerNorm's gain and bias, float32 [hidden], and the linear layer's weights and bias, float32
            [hidden, classes] and [classes].
        buffers: `int8.Buffers.arrays`: `windows` holds the input, and `logits` receives the output.
        scratch: Scratch memory of this member: `keys`, `scores` and those of `tiles`.
    """
    embed, qkv, out, up, down = products
    (gain1, bias1), (gain2, bias2) = norms
    windows, window_codes, codes, wide_codes, steps, zeros, stream, mixed, attended, wide, last, logits = buffers
    last_gain, last_bias, weights, bias = head
    keys, scores, tiles = scratch
    tokens, hidden = positions.shape
    width, window, mlp = hidden // heads, windows.shape[1], up[3].shape[1]
    layers, patches, rows, apart = len(gain1), images * (tokens - 1), images * tokens, 1
    pieces = PIECES * (counters.shape[1] - 1)

    for piece in pieces_of_step(counters, 0, member):
        _quantise_rows(piece, pieces, patches, windows, window, 1, window_codes, steps, zeros)
    for piece in pieces_of_step(counters, 1, member):
        _product(piece, pieces, tiles, window_codes, steps, zeros, patches, embed, 0, qkv[0][0], attended, False)
    for piece in pieces_of_step(counters, 2, member):
        _embed_rows(piece, pieces, rows, attended, positions, stream)
    for layer in range(layers):
        step = STEPS + LAYER_STEPS * layer
        for piece in pieces_of_step(counters, step, member):
            _layer_norm_rows(piece, pieces, rows, stream, gain1[layer], bias1[layer], mixed, codes, steps, zeros)
        for piece in pieces_of_step(counters, step + 1, member):
            _product(piece, pieces, tiles, codes, steps, zeros, rows, qkv, layer, out[0][layer], mixed, False)
        for piece in pieces_of_step(counters, step + 2, member):
            for unit in range(images * heads * piece // pieces, images * heads * (piece + 1) // pieces):
                _attention(mixed, hidden, unit // heads, unit % heads, tokens, width, keys, scores, attended)
        is_last = layer == layers - 1
        if is_last:  # the result needs only the class tokens of the last layer
            rows, apart = images, tokens
        for piece in pieces_of_step(counters, step + 3, member):
            _quantise_rows(piece, pieces, rows, attended, hidden, apart, codes, steps, zeros)
            if is_last and piece == 0:
                last[:images] = stream[: images * tokens : tokens]
        if is_last:
            stream = last
        for piece in pieces_of_step(counters, step + 4, member):
            _product(piece, pieces, tiles, codes, steps, zeros, rows, out, layer, up[0][layer], stream, True)
        for piece in pieces_of_step(counters, step + 5, member):
            _layer_norm_rows(piece, pieces, rows, stream, gain2[layer], bias2[layer], mixed, codes, steps, zeros)
        for piece in pieces_of_step(counters, step + 6, member):
            _product(piece, pieces, tiles, codes, steps, zeros, rows, up, layer, down[0][layer], wide, False)
        for piece in pieces_of_step(counters, step + 7, member):
            _gelu_rows(piece, pieces, rows, wide, mlp, wide_codes, steps, zeros)
        following = qkv[0][min(layer + 1, layers - 1)]
        for piece in pieces_of_step(counters, step + 8, member):
            _product(piece, pieces, tiles, wide_codes, steps, zeros, rows, down, layer, following, stream, True)

    if member == 0:
        for i in range(images):
            layer_norm(last[i, :hidden], last_gain, last_bias, attended[i])
        classes, pitch = weights.shape[1], attended.shape[1]
        few = max(images, FEW)
        multiply_floats(attended, 0, pitch, hidden, few, weights, 0, classes, classes // LANES, logits, 0, classes)
        for i in range(images):
            logits[i] += bias


@kept(**OPTIONS)
def cut(images, scale, shift, patch, windows):
    """Cut images, [N, channels, side, side], into patches that do not overlap: `windows`, float32 [N * patches, n].

    A pixel becomes `pixel * scale[channel] + shift[channel]`. A row of `windows` is padded: its end is left unchanged.
    """
    count, channels, side, _ = images.shape
    across = side // patch
    for image in range(count):
        for channel in range(channels):
            for y in range(across * patch):
                row = images[image, channel, y]
                first = (image * across + y // patch) * across
                offset = (channel * patch + y % patch) * patch
                for window in range(across):
                    target = windows[first + window, offset : offset + patch]
                    for x in range(patch):
                        target[x] = np.float32(row[window * patch + x]) * scale[channel] + shift[channel]
