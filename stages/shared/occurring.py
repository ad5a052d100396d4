"""Train the embeddings of pieces that occur, and leave the others out of each step.

Half of the default base's weights are embeddings, of which a data set meets a tenth to a half. The others get no gradient, so leaving
them out changes nothing but the time that an optimiser spends on them, and that weight decay no longer shrinks what it never sees.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from stages.shared.batches import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class OccurringPieces:
    """A model's embeddings, narrowed to the pieces of some texts until `widen` is called."""

    def __init__(self, model: "PreTrainedModel", texts: Iterable[Texts], pad_token_id: int) -> None:
        fixed = np.arange(pad_token_id + 1, dtype=np.int32)  # RoBERTa finds the padding by its id, which so stays what it was
        self.pieces = np.unique(np.concatenate([fixed, *(split.ids for split in texts)]))
        self._model = model
        self._whole = model.get_input_embeddings()
        narrow = self._whole.weight.detach()[torch.from_numpy(self.pieces).long()]
        model.set_input_embeddings(nn.Embedding.from_pretrained(narrow, freeze=False, padding_idx=pad_token_id))

    def widen(self) -> None:
        """Put the trained embeddings to their places among the others."""
        trained = self._model.get_input_embeddings().weight.detach()
        with torch.no_grad():
            self._whole.weight[torch.from_numpy(self.pieces).long()] = trained.to(self._whole.weight.device)
        self._model.set_input_embeddings(self._whole)
