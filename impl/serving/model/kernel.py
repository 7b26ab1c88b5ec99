"""The vision transformer in int8 as one compiled function, which one core runs alone or several run as a team.

`forward` takes patches to logits without the interpreter. So it does not ask for the GIL, for which the threads that
answer requests compete, once per product, which is 150 times per image; and it allocates nothing.

The members of a team share out the columns of each matrix product and the rows of everything else. A barrier after each
step makes the results of all members visible to the next one.
"""

import numpy as np
from numba import njit

from ...shared.kept import kept
from .barrier import barrier
from .products import FEW, LANES, ROWS, multiply_bytes, multiply_floats
from .rows import ONE, OPTIONS, gelu, layer_norm, quantise, softmax

__all__ = ["cut", "forward"]


@njit(**OPTIONS)
def _attention(mixed, image, head, tokens, width, keys, scores, out):
    """Compute attention for one head of one image: `mixed`, float32 [rows, 3 * hidden], to `out`, [rows, hidden].

    `keys`, [width, padded tokens], and `scores`, [tokens, padded tokens], are scratch memory.
    """
    hidden, padded, row = out.shape[1], keys.shape[1], image * tokens
    scale = ONE / np.sqrt(np.float32(width))
    for token in range(tokens):
        for j in range(width):
            keys[j, token] = mixed[row + token, hidden + head * width + j] * scale
    queries = row * 3 * hidden + head * width
    multiply_floats(mixed, queries, 3 * hidden, width, tokens, keys, 0, padded, padded // LANES, scores, 0, padded)
    softmax(scores, tokens)
    target = row * hidden + head * width
    multiply_floats(
        scores, 0, padded, tokens, tokens, mixed, queries + 2 * hidden, 3 * hidden, width // LANES, out, target, hidden
    )


@njit(**OPTIONS)
def _product(member, team, codes, steps, zeros, rows, weights, layer, then, out, add):
    """Compute this member's share of a product's panels, and prefetch `then`, the panels of the next product."""
    panels, scales, totals, bias = weights
    blocks, count, coming = (rows + ROWS - 1) // ROWS, panels.shape[1], len(then)
    multiply_bytes(
        codes,
        codes.shape[1],
        steps,
        zeros,
        blocks,
        panels[layer],
        scales[layer],
        totals[layer],
        bias[layer],
        count * member // team,
        count * (member + 1) // team,
        then[coming * member // team],
        out,
        out.shape[1],
        add,
    )


@njit(**OPTIONS)
def _quantise_rows(member, team, rows, values, apart, codes, steps, zeros):
    """Quantise this member's share of rows; row i is `values[i * apart]`."""
    for i in range(rows * member // team, rows * (member + 1) // team):
        steps[i], zeros[i] = quantise(values[i * apart], codes[i])


@njit(**OPTIONS)
def _layer_norm_rows(member, team, rows, stream, gain, bias, normed, codes, steps, zeros):
    """Apply LayerNorm to this member's share of rows, and quantise them."""
    for i in range(rows * member // team, rows * (member + 1) // team):
        layer_norm(stream[i], gain, bias, normed[i])
        steps[i], zeros[i] = quantise(normed[i, : stream.shape[1]], codes[i])


@njit(**OPTIONS)
def _gelu_rows(member, team, rows, wide, codes, steps, zeros):
    """Apply GELU to this member's share of the MLP's hidden activations, and quantise them."""
    for i in range(rows * member // team, rows * (member + 1) // team):
        gelu(wide[i])
        steps[i], zeros[i] = quantise(wide[i], codes[i])


@njit(**OPTIONS)
def _embed_rows(member, team, rows, embedded, positions, stream):
    """Write this member's share of the first layer's input: class tokens, and embedded patches with positions."""
    tokens = len(positions)
    for i in range(rows * member // team, rows * (member + 1) // team):
        image, token = i // tokens, i % tokens
        stream[i] = positions[token]
        if token:
            stream[i] += embedded[image * (tokens - 1) + token - 1]


@kept(**OPTIONS)
def forward(member, team, counter, images, heads, positions, products, norms, head, buffers, scratch):
    """Compute logits from patches. All members of a team call it at once, with the same arguments but their own number.

    Args:
        member: This member's number, from 0.
        team: Members of the team.
        counter: The barrier's counter, int64 [1], 0 before the first member calls.
        images: Images in the batch.
        heads: Heads of the attention.
        positions: float32 [tokens, hidden]; the class token is added to the first.
        products: The matrices embed, qkv, out, up and down of all layers: panels, int8 [layers, columns / 32, bytes],
            and scales, totals and bias, float32 [layers, columns].
        norms: The two LayerNorms of all layers: gain and bias, float32 [layers, hidden].
        head: The last LayerNorm's gain and bias, float32 [hidden], and the linear layer's weights and bias, float32
            [hidden, classes] and [classes].
        buffers: `int8.Buffers.arrays`: `windows` holds the input, and `logits` receives the output.
        scratch: Scratch memory of this member: `keys` and `scores`.
    """
    embed, qkv, out, up, down = products
    (gain1, bias1), (gain2, bias2) = norms
    windows, window_codes, codes, wide_codes, steps, zeros, stream, mixed, attended, wide, last, logits = buffers
    last_gain, last_bias, weights, bias = head
    keys, scores = scratch
    tokens, width = len(positions), stream.shape[1] // heads
    layers, patches, rows, apart = len(gain1), images * (tokens - 1), images * tokens, 1

    _quantise_rows(member, team, patches, windows, 1, window_codes, steps, zeros)
    barrier(counter, team)
    _product(member, team, window_codes, steps, zeros, patches, embed, 0, qkv[0][0], attended, False)
    barrier(counter, team)
    _embed_rows(member, team, rows, attended, positions, stream)
    for layer in range(layers):
        _layer_norm_rows(member, team, rows, stream, gain1[layer], bias1[layer], mixed, codes, steps, zeros)
        barrier(counter, team)
        _product(member, team, codes, steps, zeros, rows, qkv, layer, out[0][layer], mixed, False)
        barrier(counter, team)
        for unit in range(images * heads * member // team, images * heads * (member + 1) // team):
            _attention(mixed, unit // heads, unit % heads, tokens, width, keys, scores, attended)
        barrier(counter, team)
        if layer == layers - 1:  # the result needs only the class tokens of the last layer
            rows, apart = images, tokens
            if member == 0:
                last[:images] = stream[: images * tokens : tokens]
            stream = last
        _quantise_rows(member, team, rows, attended, apart, codes, steps, zeros)
        barrier(counter, team)
        _product(member, team, codes, steps, zeros, rows, out, layer, up[0][layer], stream, True)
        barrier(counter, team)
        _layer_norm_rows(member, team, rows, stream, gain2[layer], bias2[layer], mixed, codes, steps, zeros)
        barrier(counter, team)
        _product(member, team, codes, steps, zeros, rows, up, layer, down[0][layer], wide, False)
        barrier(counter, team)
        _gelu_rows(member, team, rows, wide, wide_codes, steps, zeros)
        barrier(counter, team)
        following = qkv[0][min(layer + 1, layers - 1)]
        _product(member, team, wide_codes, steps, zeros, rows, down, layer, following, stream, True)
        barrier(counter, team)

    if member == 0:
        for i in range(images):
            layer_norm(last[i], last_gain, last_bias, attended[i])
        hidden, classes = weights.shape
        few = max(images, FEW)
        multiply_floats(attended, 0, hidden, hidden, few, weights, 0, classes, classes // LANES, logits, 0, classes)
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
