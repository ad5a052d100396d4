"""The histogram of the data report: the lengths of texts come in, the places of bars, ticks and words go out."""

import math
from typing import Any

import numpy as np

from stages.shared.dataset.lengths import Lengths

BARS = 40


def histogram(lengths: Lengths) -> dict[str, Any]:
    """Return the histogram of the lengths as bars above a line at y = 206, on a field of 1000 x 240."""
    tokens, limit, truncated = lengths.tokens, lengths.max_length, lengths.truncated
    end = max(int(np.quantile(tokens, 0.995)), 20)
    end = max(end, limit) if end > limit / 2 else end
    step = math.ceil((end + 1) / BARS)
    counts = np.bincount(np.minimum(tokens // step, BARS - 1), minlength=BARS)
    width = 1000 / BARS
    heights = 186 * counts / counts.max()
    scale = 1000 / (step * BARS)
    limit_x = min(limit * scale, 999)
    is_beyond = limit > step * BARS
    longer = (
        f"{truncated:.1%} are longer than train.max_length ({limit:,}) and will be truncated"
        if truncated
        else f"None is longer than train.max_length ({limit:,})"
    )
    return {
        "summary": f"Half of the texts have at most {int(np.median(tokens)):,} tokens, 95 % have at most "
        f"{int(np.quantile(tokens, 0.95)):,}, and the longest has {int(tokens.max()):,}. {longer}.",
        "bars": [
            {"x": round(place * width + 1, 1), "y": round(206 - height, 1), "width": round(width - 2, 1), "height": round(height, 1)}
            for place, height in enumerate(heights.tolist())
        ],
        "highest": f"{counts.max():,}",
        "limit": f"{limit:,}{' (beyond the right edge)' if is_beyond else ''}",
        "limit_x": round(limit_x, 1),
        "limit_anchor": "end" if limit_x > 500 else "start",
        "ticks": [
            {"x": round(place * 1000 / 8 + (12 if not place else 0), 1), "label": f"{round(place * step * BARS / 8):,}"}
            for place in range(8)
        ],
    }
