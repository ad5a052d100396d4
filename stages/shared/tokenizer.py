"""The base model's tokenizer, set to cut where a stage wants it."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(base_dir: Path, max_length: int, param: str) -> "PreTrainedTokenizerBase":
    """Load the base's tokenizer so that it cuts at max_length tokens; raise StageError where the base takes fewer.

    param: that max_length is of.
    """
    if not (base_dir / "config.json").is_file():
        raise StageError(f"{base_dir} is no base model: run `dvc repro base_model`")
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(base_dir)
    except (OSError, ValueError) as error:
        raise StageError(f"{base_dir} cannot be loaded ({str(error).strip().splitlines()[0]}): run `dvc repro -f base_model`") from None
    positions = getattr(config, "max_position_embeddings", max_length)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "longformer"):
        positions -= config.pad_token_id + 1  # they count from behind the padding's position
    if max_length > positions:
        raise StageError(f"{param} is {max_length}: the base model takes at most {positions} tokens")
    return AutoTokenizer.from_pretrained(base_dir, model_max_length=max_length)
