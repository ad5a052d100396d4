"""Packing: token ids of texts come in, batches go out that cost an engine little time.

Short texts share a row, which saves padding. An engine keeps memory for each shape of a batch, and needs time for a new shape.
So shapes are few: four lengths per octave (doubling), four numbers of rows per octave with shared rows, and one without.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

BATCH_TOKENS = 512  # of a batch, with padding: larger batches were not faster
ROW_TOKENS = 64  # of a row that texts share: longer rows cost more attention than they save padding
CALL_TOKENS = 48  # the fixed cost of a call of an engine, as a number of tokens
TokenIds = NDArray[np.int64]


class Batch(NamedTuple):
    """The input of an engine. An engine with one text per row needs the first two fields only.

    input_ids: (rows, tokens). attention_mask: (rows, tokens), the number of the text in its row from 1 on, 0 for padding.
    positions: (rows, tokens), the position of a token in its text. first: (rows, places), the token of the row where each text begins.
    places: the most texts of a row in this batch, rounded up.
    """

    input_ids: TokenIds
    attention_mask: TokenIds
    positions: TokenIds
    first: TokenIds

    @classmethod
    def of(cls, token_ids: TokenIds) -> Self:
        """Return a batch of one text (tokens,), without padding."""
        return cls(token_ids[None], np.ones((1, len(token_ids)), np.int64), np.arange(len(token_ids))[None], np.zeros((1, 1), np.int64))

    def inputs(self, names: Sequence[str]) -> dict[str, TokenIds]:
        """Return the fields with these names, which are the names of an engine's inputs."""
        return {name: getattr(self, name) for name in names}


class Packer:
    """Divide texts into batches and fill them. Each batch reuses the memory of the batch before it.

    max_length: of a text, in tokens. shared_rows: whether several texts may share a row.
    """

    def __init__(self, max_length: int, pad_token_id: int, *, shared_rows: bool) -> None:
        self._max_length = max_length
        self._pad_token_id = pad_token_id
        self._shared_rows = shared_rows
        self._row_counts = [count for count in ROW_COUNTS if shared_rows or count.bit_count() == 1]
        self._memory = np.empty((4, max(BATCH_TOKENS, round_up(max_length))), dtype=np.int64)

    def pack(self, token_ids: Sequence[TokenIds]) -> Iterator[tuple[list[int], list[int], Batch]]:
        """Yield for each batch the numbers of its texts, the row of the logits for each of them, and the batch."""
        padding = np.array([self._pad_token_id])
        token_ids = [ids if len(ids) else padding for ids in token_ids]
        for rows in self.plan([len(ids) for ids in token_ids]):
            batch = self._fill([[token_ids[text] for text in row] for row in rows])
            places = batch.first.shape[1]
            texts = [text for row in rows for text in row]
            yield texts, [number * places + place for number, row in enumerate(rows) for place in range(len(row))], batch

    def plan(self, lengths: Sequence[int]) -> list[list[list[int]]]:
        """Return batches, as rows of numbers of texts, so that padding and calls together cost the least. lengths: at least 1."""
        rows = share_rows(lengths) if self._shared_rows else [[text] for text in range(len(lengths))]
        row_tokens = [sum(lengths[text] for text in row) for row in rows]
        order = sorted(range(len(rows)), key=row_tokens.__getitem__, reverse=True)
        cost, sizes = [0] * (len(order) + 1), [1] * len(order)
        for start in reversed(range(len(order))):
            length = self._row_length(row_tokens[order[start]])
            cost[start], sizes[start] = min(
                (CALL_TOKENS + size * length + cost[min(start + size, len(order))], size)
                for size in self._row_counts
                if size == 1 or size * length <= BATCH_TOKENS
            )
        batches, start = [], 0
        while start < len(order):
            batches.append([rows[number] for number in order[start : start + sizes[start]]])
            start += sizes[start]
        return batches

    def _row_length(self, tokens: int) -> int:
        return round_up(tokens) if self._shared_rows else min(round_up(tokens), self._max_length)

    def _fill(self, rows: list[list[TokenIds]]) -> Batch:
        count = next(count for count in self._row_counts if count >= len(rows))
        shape = count, self._row_length(max(sum(map(len, row)) for row in rows))
        places = round_up(max(map(len, rows)))
        memory = self._memory[:3, : shape[0] * shape[1]].reshape(3, *shape)
        first = self._memory[3, : shape[0] * places].reshape(shape[0], places)
        input_ids, attention_mask, positions = memory
        input_ids.fill(self._pad_token_id)
        memory[1:] = 0
        first.fill(0)
        attention_mask[len(rows) :, 0] = 1  # unused rows: an engine may compute NaN for a row without a token
        for number, row in enumerate(rows):
            start = 0
            for place, ids in enumerate(row):
                end = start + len(ids)
                input_ids[number, start:end] = ids
                attention_mask[number, start:end] = place + 1
                positions[number, start:end] = np.arange(len(ids))
                first[number, place] = start
                start = end
        return Batch(input_ids, attention_mask, positions, first)


def share_rows(lengths: Sequence[int]) -> list[list[int]]:
    """Return rows of numbers of texts. Long texts come first, and each goes into the fullest row with room for it."""
    rows_with_room: list[list[list[int]]] = [[] for _ in range(ROW_TOKENS + 1)]
    rows = []
    for text in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[text]
        room = next((room for room in range(length, ROW_TOKENS + 1) if rows_with_room[room]), None)
        if room is None:
            row: list[int] = []
            rows.append(row)
            room = max(ROW_TOKENS, round_up(length))
        else:
            row = rows_with_room[room].pop()
        row.append(text)
        rows_with_room[room - length].append(row)
    return rows


def round_up(number: int) -> int:
    """Round up to one of four steps per octave: 1 to 8, 10, 12, 14, 16, 20 ..."""
    step = 1 << max(0, (number - 1).bit_length() - 3)
    return -(-number // step) * step


ROW_COUNTS = sorted({round_up(count) for count in range(1, BATCH_TOKENS + 1)})
