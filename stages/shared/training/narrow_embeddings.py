"""Train the embeddings of pieces that occur, and leave the others out of each step.

Half of the default base's weights are embeddings, of which a data set meets a tenth to a half. The others get no gradient, so leaving
them out changes nothing but the time that an optimiser spends on them, and that weight decay no longer shrinks what it never sees.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from stages.shared.batches import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class NarrowEmbeddings:
    """A model's embeddings, narrowed to the pieces of some texts and the special ones until `widen` is called.

    special: places of the special pieces; mask: that of the one which hides others.
    """

    def __init__(self, model: "PreTrainedModel", texts: Iterable[Texts], tokenizer: "PreTrainedTokenizerBase") -> None:
        pad_token_id = tokenizer.pad_token_id
        fixed = np.arange(pad_token_id + 1, dtype=np.int32)  # RoBERTa finds the padding by its id, which so stays what it was
        special = np.array(tokenizer.all_special_ids, dtype=np.int32)
        self.pieces = np.unique(np.concatenate([fixed, special, *(split.ids for split in texts)]))
        self.special = self.places(special)
        self.mask = int(self.places(next(i for i in (tokenizer.mask_token_id, tokenizer.unk_token_id, pad_token_id) if i is not None)))
        self._model = model
        self._whole = model.get_input_embeddings()
        narrow = self._whole.weight.detach()[torch.from_numpy(self.pieces).long()]
        model.set_input_embeddings(nn.Embedding.from_pretrained(narrow, freeze=False, padding_idx=pad_token_id))

    def places(self, ids: ArrayLike) -> NDArray[np.int32]:
        """Return the ids that pieces of the tokenizer have in the narrowed model."""
        return np.searchsorted(self.pieces, ids).astype(np.int32)

    def widen(self) -> None:
        """Put the trained embeddings to their places among the others."""
        trained = self._model.get_input_embeddings().weight.detach()
        with torch.no_grad():
            self._whole.weight[torch.from_numpy(self.pieces).long()] = trained.to(self._whole.weight.device)
        self._model.set_input_embeddings(self._whole)
