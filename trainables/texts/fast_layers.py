"""Layers that compute what PyTorch's do, with far fewer passes over memory.

Activations are bfloat16 where the processor multiplies it natively, with float32 weights and sums.
Dropout is a bitwise "and" with a mask: drawing 16 random bits an element takes an eighth of the
time of PyTorch's Bernoulli draws, and its rate is exact to 1/32768 (what is kept is divided by that
exact share). PyTorch's global generator seeds the masks, so that its seed fixes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.grad import conv2d_input

__all__ = [
    "conv_relu_pool",
    "dropout",
    "embed",
    "fast_dtype",
    "keep_mask",
    "kept_share",
    "linear",
    "mean_of_texts",
    "pool_texts",
    "rearrange",
]

_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
_STEPS = 1 << 15


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on GPUs and on processors with instructions for it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if supported() else torch.float32


def kept_share(rate: float) -> float:
    """What `keep_mask` keeps of all elements on average, exactly: 1 - rate in steps of 1/32768."""
    return 1.0 - round(rate * _STEPS) / _STEPS


def keep_mask(shape: Sequence[int], rate: float, dtype: torch.dtype, device: Any) -> Tensor:
    """Draws a mask: all bits set where an element stays, none where it is dropped.

    Args:
        shape: the mask's.
        rate: share that is dropped, 0 to below 1.
        dtype: bfloat16 or float32: of what the mask is for.
        device: where.

    Returns:
        int16 or int32, as wide as `dtype`.
    """
    size = 1
    for each in shape:
        size *= each
    # Four elements for every 64 random bits: int64 [⌈size / 4⌉] seen as int16 [size].
    bits = _random_words(-(-size // 4), torch.device(device)).view(torch.int16)[:size]
    # u = 15 random bits, t = rate · 2¹⁵: t - 1 - u is negative where u ≥ t, that is with
    # probability 1 - rate. Its sign bit, spread over all 16, is -1 (all bits set) where kept.
    bits = torch.rsub(bits.bitwise_and_(_STEPS - 1), round(rate * _STEPS) - 1)
    return bits.bitwise_right_shift_(15).to(_BITS[dtype]).view(tuple(shape))


def _random_words(count: int, device: torch.device) -> Tensor:
    """int64 [count], every bit random; SFC64 draws in half of the time of PyTorch's generator."""
    if device.type != "cpu":
        return torch.empty(count, dtype=torch.int64, device=device).random_(-(2**63), None)
    seed = int(torch.randint(2**63 - 1, ()))
    return torch.from_numpy(np.random.SFC64(seed).random_raw(count).view(np.int64))


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    """`values` where the mask has all bits set, 0.0 (no bit set) where it has none."""
    return values.view(mask.dtype).bitwise_and(mask).view(values.dtype)


def dropout(values: Tensor, rate: float) -> Tensor:
    """Dropout of single elements, as `torch.nn.functional.dropout` in training.

    Args:
        values: bfloat16 or float32, any shape.
        rate: share of elements that become 0; the others are divided by the share that stays.
    """
    if not rate:
        return values
    dropped: Tensor = _Dropout.apply(values, rate)
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rate: float) -> Tensor:
        mask = keep_mask(values.shape, rate, values.dtype, values.device)
        ctx.save_for_backward(mask)
        ctx.scale = 1.0 / kept_share(rate)
        return _masked(values.contiguous(), mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _masked(grad.contiguous(), *ctx.saved_tensors).mul_(ctx.scale), None


def embed(table: Tensor, ids: Tensor, mask: Tensor | None, scale: float, dtype: Any) -> Tensor:
    """Looks rows up and drops elements of them; row 0 is padding, which gets no gradient.

    Args:
        table: float32 [size, dim].
        ids: int64 [m].
        mask: from `keep_mask`, [m, dim]; None drops nothing.
        scale: what everything is multiplied by, 1 / share kept.
        dtype: of the result: bfloat16 or float32.

    Returns:
        [m, dim].
    """
    rows: Tensor = _Embed.apply(table, ids, mask, scale, dtype)
    return rows


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table: Tensor, ids: Tensor, mask: Tensor | None, scale: float, dtype: Any
    ) -> Tensor:
        rows = (table * scale).to(dtype).index_select(0, ids)  # [size, dim] -> [m, dim]
        ctx.scale, ctx.size, ctx.mask = scale, len(table), mask
        ctx.save_for_backward(ids)
        if mask is not None:
            rows.view(mask.dtype).bitwise_and_(mask)
        return rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (ids,) = ctx.saved_tensors
        if ctx.mask is not None:
            grad = _masked(grad.contiguous(), ctx.mask)
        # dL/dtable[i] = scale · Σ of the gradients of all rows that took row i, [size, dim].
        total = grad.new_zeros((ctx.size, grad.shape[1]), dtype=torch.float32)
        total.index_add_(0, ids, grad.float())
        total[0] = 0
        return total.mul_(ctx.scale), None, None, None, None


def conv_relu_pool(
    rows: Tensor, weight: Tensor, bias: Tensor, gaps: Tensor, pool: int, rate: float
) -> Tensor:
    """Convolution over words, ReLU, dropout of single elements, maximum over windows.

    y[t, f] = max(0, bias[f] + Σ_{j, c} weight[f, j, c] · rows[t + j, c]), then dropout, then the
    maximum over each `pool` of the r rows t. Gaps count as 0 in the maximum, as do negative values.

    Args:
        rows: words and gaps, [r + width - 1, dim], bfloat16 or float32.
        weight: filters, float32 [filters, width, dim].
        bias: float32 [filters].
        gaps: rows of the r that are no words, [g].
        pool: rows in a window; r is a multiple of it.
        rate: dropout between ReLU and maximum.

    Returns:
        [r / pool, filters], of the type of `rows`.
    """
    pooled: Tensor = _ConvReluPool.apply(rows, weight, bias, gaps, pool, rate)
    return pooled


def _windows(rows: Tensor, width: int) -> Tensor:
    """What each filter sees: rows [count, dim] as [count - width + 1, width · dim]."""
    count, dim = rows.shape
    return rows.as_strided((count - width + 1, width * dim), (dim, 1)).contiguous()


def _as_image(rows: Tensor) -> Tensor:
    """[n, channels] as [1, channels, n, 1], whose memory is "channels last": nothing is copied."""
    return rows[None, :, None, :].permute(0, 3, 1, 2)


class _ConvReluPool(torch.autograd.Function):
    """Non-negative floats compare like their bits, as whole numbers.

    Convolutions of an image that is one column wide: half of the time of a product with unrolled
    windows, and a quarter for the rows' gradient. For the filters' gradient it is the other way
    round: that product takes a seventh of the time.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, gaps: Tensor, pool: int, rate: float
    ) -> Tensor:
        rows = rows.contiguous()
        # [filters, width, dim] -> [filters, dim, width, 1]
        filters = weight.to(rows.dtype)[:, :, None, :].permute(0, 3, 1, 2)
        # [1, dim, r + width - 1, 1] -> [1, filters, r, 1]
        image = torch.nn.functional.conv2d(_as_image(rows), filters, bias.to(rows.dtype))
        values = image[0, :, :, 0].t().contiguous()  # [r, filters]
        values.relu_().index_fill_(0, gaps, 0.0)
        bits = values.view(_BITS[rows.dtype])
        if rate:
            bits.bitwise_and_(keep_mask(values.shape, rate, rows.dtype, rows.device))
        groups = bits.view(-1, pool, len(weight))  # [r / pool, pool, filters]
        best = groups[:, 0].clone()  # the largest of each window, [r / pool, filters]
        for row in range(1, pool):
            torch.maximum(best, groups[:, row], out=best)
        ctx.save_for_backward(rows, filters, groups, best)
        ctx.scale = 1.0 / kept_share(rate)
        pooled = best.view(rows.dtype)
        return pooled * ctx.scale if rate else pooled.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None, None]:
        rows, filters, groups, best = ctx.saved_tensors
        shift = 8 * rows.element_size() - 1  # leaves the sign bit, spread: -1 below 0, else 0
        positive = best.neg().bitwise_right_shift_(shift)  # -1 where ReLU let something through
        # The gradient that no row has taken yet, [r / pool, filters].
        left = (grad * ctx.scale).view(best.dtype).bitwise_and_(positive)
        # Each window's gradient goes to one of its rows, so the sum over windows is that over rows.
        of_bias = left.view(rows.dtype).sum(0, dtype=torch.float32)
        values = torch.empty_like(groups)
        # The first of the largest takes the gradient.
        for row in range(groups.shape[1] - 1):
            smaller = (
                groups[:, row].sub(best).bitwise_right_shift_(shift)
            )  # -1 where not the largest
            torch.bitwise_and(left, smaller.bitwise_not(), out=values[:, row])
            left = left.bitwise_and_(smaller)
        values[:, -1] = left
        grads = values.view(rows.dtype).view(-1, groups.shape[2])  # dL/dy, [r, filters]
        number, dim, width, _ = filters.shape
        # dL/dW = dL/dyᵀ · windows: [filters, r] @ [r, width · dim].
        of_weight = (grads.t() @ _windows(rows, width)).float().view(number, width, dim)
        of_rows = None
        if ctx.needs_input_grad[0]:
            size = (1, dim, len(rows), 1)
            image = conv2d_input(size, filters, _as_image(grads))
            of_rows = image[0, :, :, 0].t()
        return of_rows, of_weight, of_bias, None, None, None


def linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`torch.nn.functional.linear` on values of another type than the weights.

    PyTorch's own backward gives the weights' gradient transposed, and turning it to float32 takes
    longer than the product: for 48,000 inputs 100 ms of 130.

    Args:
        values: bfloat16 or float32 [n, inputs].
        weight: float32 [outputs, inputs].
        bias: float32 [outputs].

    Returns:
        [n, outputs], of the type of `values`.
    """
    result: Tensor = _Linear.apply(values, weight, bias)
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        weight = weight.to(values.dtype)
        ctx.save_for_backward(values, weight)
        return torch.addmm(bias.to(values.dtype), values, weight.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, weight = ctx.saved_tensors
        # y = x·Wᵀ + b: dL/dW = dL/dyᵀ·x [outputs, inputs], dL/dx = dL/dy·W, dL/db = Σ_n dL/dy.
        of_weight = (grad.t() @ values).float()
        return grad @ weight, of_weight, grad.sum(0, dtype=torch.float32)


def rearrange(rows: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """`rows[forward]`, whose gradient is `grad[backward]` instead of a sum row by row.

    Right only where each row is taken once at most; rows that are not taken, or several times, must
    have no gradient that matters: the rows of gaps here.

    Args:
        rows: [m, dim].
        forward: rows to take, int64 [k].
        backward: for each row its index in the result, int64 [m].

    Returns:
        [k, dim].
    """
    taken: Tensor = _Rearrange.apply(rows, forward, backward)
    return taken


class _Rearrange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.save_for_backward(backward)
        return rows.index_select(0, forward)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, *ctx.saved_tensors), None, None


def pool_texts(rows: Tensor, starts: Tensor, counts: Tensor) -> Tensor:
    """The maximum over each text's rows.

    Args:
        rows: [m, dim].
        starts: first row of each text, [n].
        counts: rows of each text, at least 1, [n].

    Returns:
        [n, dim].
    """
    pieces = zip(starts.tolist(), counts.tolist(), strict=True)
    # For each text and channel the row of the maximum, n times [dim].
    largest = [rows.detach()[start : start + count].argmax(0) + start for start, count in pieces]
    return rows.gather(0, torch.stack(largest))


def mean_of_texts(rows: Tensor, starts: Tensor, counts: Tensor) -> Tensor:
    """The mean over each text's rows; arguments and result as those of `pool_texts`."""
    pieces = zip(starts.tolist(), counts.tolist(), strict=True)
    return torch.stack([rows.narrow(0, *piece).mean(0) for piece in pieces])
