"""A base model that does not know the language of the texts gets a vocabulary of them, learns it, and is served with it."""

import signal
from pathlib import Path

import pytest

from serving.inference.classifier import Classifier
from tests.running import read_json, run_command, write_params
from tests.stages.accidents import within_a_step
from tests.stages.training import Training

TRAINING = {
    "max_length": 32,
    "batch_size": 16,
    "learning_rate": 0.01,
    "epochs": 4,
    "threads": 1,
    "precision": "fp32",
    "vocabulary": "refit",
}
THINGS = ("영화", "배우", "음악", "연출", "대사", "결말", "화면", "이야기")
GOOD = ("정말 재미있다", "아주 훌륭하다", "너무 좋았다", "감동적이다")
BAD = ("정말 지루하다", "아주 형편없다", "너무 실망했다", "엉망진창이다")


def korean_table(file: Path, texts: int) -> None:
    lines = ["text,label"]
    for number in range(texts // 2):
        thing, place = THINGS[number % len(THINGS)], number % 4
        lines += [f"{thing}가 {GOOD[place]} {number},1", f"{thing}가 {BAD[place]} {number},0"]
    file.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="module")
def korean(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Korean splits and params, as `Training` takes them."""
    folder = tmp_path_factory.mktemp("korean")
    korean_table(folder / "train.csv", 600)
    korean_table(folder / "validation.csv", 100)
    for name in ("classes.json", "preprocess.json"):
        (folder / name).write_bytes((tiny_model / name).read_bytes())
    write_params(folder / "params.yaml", {"train": TRAINING})
    return folder


@pytest.fixture(scope="module")
def refit(korean: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    training = Training(korean, tiny_base, tmp_path_factory.mktemp("refit"), korean / "params.yaml")
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    return training


def test_vocabulary_is_fitted_and_the_log_says_so(refit: Training) -> None:
    metrics = read_json(refit.root / "train.json")
    assert metrics["coverage"]["unknown_share"] > 0.3
    assert metrics["vocabulary"]["refit"] is True
    assert metrics["validation_accuracy"] > 0.9
    said = refit.stderr
    assert "A VOCABULARY IS FITTED ON THE TEXTS" in said
    assert "base_model.source" in said


def test_fitted_vocabulary_has_the_words_of_the_texts(refit: Training) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(refit.root / "final")
    assert tokenizer.tokenize("영화가 정말 재미있다") == ["▁영화가", "▁정말", "▁재미있다"]
    assert tokenizer("영화가").input_ids[0] == tokenizer.cls_token_id
    assert tokenizer.model_max_length == 32
    model = AutoModelForSequenceClassification.from_pretrained(refit.root / "final")
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == read_json(refit.root / "train.json")["vocabulary"]["pieces"]


def test_bundle_of_a_refitted_model_classifies_korean_texts(refit: Training, korean: Path) -> None:
    flags = {"params": korean / "params.yaml", "model": refit.root / "final", "train": korean / "train.csv"}
    flags |= {"validation": korean / "validation.csv", "bundle": refit.root / "serving"}
    flags |= {"metrics": refit.root / "compared.json", "details": refit.root / "export.json"}
    command = ["python", "-m", "stages.export", *(part for flag, file in flags.items() for part in (f"--{flag}", str(file)))]
    done = run_command(*command, **refit.environment)
    assert done.returncode == 0, done.stderr
    answers = Classifier.load(refit.root / "serving").predict(["영화가 정말 재미있다 3", "영화가 아주 형편없다 3"])
    assert answers.label_ids.tolist() == [1, 0]


@pytest.mark.parametrize("step", [12, 2 * 600 // 64 + 40])  # in pre-training; after it
def test_training_killed_in_pre_training_or_after_it_resumes_to_the_same_bytes(
    korean: Path, tiny_base: Path, refit: Training, tmp_path: Path, step: int
) -> None:
    training = Training(korean, tiny_base, tmp_path / "root", korean / "params.yaml")
    assert training.run(within_a_step, step) == -signal.SIGKILL
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    assert "resuming from" in training.stderr
    assert training.results == refit.results


def test_shared_tokens_keep_their_embedding_and_tokens_with_the_same_neighbours_get_similar_ones(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from stages.shared.batches import tokenize
    from stages.shared.training.vocabulary import cooccurrence
    from stages.shared.training.vocabulary.refit import exchange_vocabulary, fit_tokenizer

    encoder, old = AutoModel.from_pretrained(tiny_base), AutoTokenizer.from_pretrained(tiny_base)
    before = encoder.get_input_embeddings().weight.detach().clone()
    texts = [f"{thing} {word} good film" for thing in THINGS for word in ("멋지다", "훌륭하다")] * 5
    texts += [f"{thing} {word} {thing}" for thing in ("one", "two", "three") for word in ("나쁘다", "엉망이다")] * 5
    new = fit_tokenizer(texts, 32)
    embeddings = cooccurrence.embeddings(tokenize(texts, None, new), len(new), before.shape[1], seed=1)
    assert exchange_vocabulary(encoder, old, new, embeddings) > 5
    after = encoder.get_input_embeddings().weight.detach()
    assert torch.equal(after[new.convert_tokens_to_ids("▁film")], before[old.convert_tokens_to_ids("film")])
    assert torch.equal(after[new.mask_token_id], before[old.mask_token_id])
    good, fine, bad = (after[new.convert_tokens_to_ids(f"▁{word}")] - before.mean(0) for word in ("멋지다", "훌륭하다", "나쁘다"))
    assert torch.cosine_similarity(good, fine, dim=0) > 0.9 > 0.5 > torch.cosine_similarity(good, bad, dim=0)
    assert after.std() == pytest.approx(float(before.std()), rel=0.3)


@pytest.mark.parametrize("kind", ["roberta", "electra"])  # RoBERTa counts positions from its padding; ELECTRA has narrow embeddings
def test_other_encoders_take_a_fitted_vocabulary(kind: str, korean: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, ElectraConfig, RobertaConfig, set_seed

    from stages.shared.training.vocabulary.refit import fit_tokenizer

    pad_token_id = 1 if kind == "roberta" else 0
    tokenizer = fit_tokenizer(["the film was good", "the food was awful"] * 20, 32, pad_token_id)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.3}
    shape |= {"vocab_size": len(tokenizer), "pad_token_id": pad_token_id, "max_position_embeddings": 34}
    set_seed(0)
    config = RobertaConfig(**shape) if kind == "roberta" else ElectraConfig(embedding_size=8, **shape)
    for part in (AutoModel.from_config(config), tokenizer):
        part.save_pretrained(tmp_path / "base")
    training = Training(korean, tmp_path / "base", tmp_path / "root", korean / "params.yaml")
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    assert read_json(training.root / "train.json")["validation_accuracy"] > 0.9
    assert read_json(training.root / "final/config.json")["pad_token_id"] == pad_token_id


@pytest.mark.parametrize(("pad_token_id", "kept"), [(0, 0), (1, 1), (50_000, 4)])
def test_padding_keeps_its_id_up_to_the_number_of_special_tokens(pad_token_id: int, kept: int) -> None:
    from stages.shared.training.vocabulary.refit import fit_tokenizer

    tokenizer = fit_tokenizer(["영화가 정말 좋았다"] * 10, 32, pad_token_id)
    assert tokenizer.pad_token_id == kept
    assert sorted(tokenizer.all_special_ids) == [0, 1, 2, 3, 4]


def test_keep_leaves_the_vocabulary_and_warns(korean: Path, tiny_base: Path, tmp_path: Path) -> None:
    params_file = write_params(tmp_path / "params.yaml", {"train": {**TRAINING, "epochs": 1, "vocabulary": "keep"}})
    training = Training(korean, tiny_base, tmp_path / "root", params_file)
    assert training.run() == 0, training.stderr
    assert "THE BASE MODEL DOES NOT KNOW THE LANGUAGE" in training.stderr
    assert read_json(training.root / "train.json")["vocabulary"]["refit"] is False


def test_masking_depends_on_the_rows_only_and_spares_special_tokens(tiny_base: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    from stages.shared.batches import tokenize
    from stages.shared.training.vocabulary.refit import MASKED_SHARE, MaskingCollator

    tokenizer = AutoTokenizer.from_pretrained(tiny_base, model_max_length=32)
    texts = tokenize(["the film was very good and the food was bad"] * 200, None, tokenizer)
    items = [texts[row] for row in range(200)]
    batch, again = MaskingCollator(tokenizer, seed=7)(items), MaskingCollator(tokenizer, seed=7)(items)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    ids = torch.stack([torch.from_numpy(item["input_ids"].astype(int)) for item in items])
    masked, special = batch["labels"] != -100, torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    assert not (masked & special).any()
    assert torch.equal(batch["labels"][masked], ids[masked])
    assert torch.equal(batch["input_ids"][~masked], ids[~masked])
    assert float(masked.sum() / (~special).sum()) == pytest.approx(MASKED_SHARE, abs=0.05)
    assert float((batch["input_ids"][masked] == tokenizer.mask_token_id).float().mean()) == pytest.approx(0.8, abs=0.05)
    assert float((batch["input_ids"][masked] == ids[masked]).float().mean()) == pytest.approx(0.1, abs=0.05)
