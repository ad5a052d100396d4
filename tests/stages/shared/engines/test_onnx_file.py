"""The portable model: it answers as torch does, also with several texts in a row."""

import platform
from pathlib import Path

import numpy as np
import pytest

from serving.inference.bundle import PORTABLE, read_bundle
from serving.inference.classifier import Classifier
from serving.inference.engines import OpenVinoEngine
from serving.inference.packing import Batch
from stages.shared.calibration import at_temperature
from stages.shared.engines.onnx_file import write_onnx


@pytest.mark.parametrize("kind", ["distilbert", "bert", "roberta"])
def test_exported_file_answers_as_torch_for_every_architecture(kind: str, tmp_path: Path) -> None:
    import onnxruntime
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, set_seed

    set_seed(0)
    sizes = (
        {"dim": 32, "hidden_dim": 64, "n_layers": 3, "n_heads": 2} if kind == "distilbert" else {"hidden_size": 32, "intermediate_size": 64}
    )
    layers = {} if kind == "distilbert" else {"num_hidden_layers": 3, "num_attention_heads": 2}
    config = AutoConfig.for_model(kind, vocab_size=100, max_position_embeddings=64, num_labels=3, **sizes, **layers)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    write_onnx(model, 32, tmp_path / "model.onnx")
    ids, mask = torch.randint(5, 100, (4, 9)), torch.ones((4, 9), dtype=torch.int64)
    ids[1, 4:], mask[1, 4:] = config.pad_token_id, 0
    ids[2, :3], mask[2, :3] = config.pad_token_id, 0  # some clients of the portable file pad on the left
    mask[3, 4:6] = 0
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (actual,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    if platform.machine() == "x86_64":
        engine = OpenVinoEngine(tmp_path / "model.onnx", "f32", 1, None)
        assert engine.shares_rows == (kind == "distilbert")
        np.testing.assert_allclose(engine.logits(Batch.of(ids[1, :4].numpy())), expected[1:2], atol=1e-5)


def test_texts_in_a_shared_row_get_the_answers_of_texts_alone(tiny_bundle: Path) -> None:
    texts = [" ".join(["good", "film", "bad", "food"] * (row % 4))[: 7 * row] for row in range(30)]

    def answers(classifier: Classifier, calls: list[list[str]]) -> np.ndarray:
        probabilities = np.concatenate([classifier.predict(call).probabilities for call in calls])
        return at_temperature(probabilities, 1 / classifier.spec.temperature)

    alone = [[text] for text in texts]
    portable = answers(Classifier.load(tiny_bundle, engine=PORTABLE), alone)
    shared = [Classifier.load(tiny_bundle, engine=spec.name) for spec in read_bundle(tiny_bundle).engines if spec.runtime == "openvino"]
    assert len(shared) == (3 if platform.machine() == "x86_64" else 0)
    for classifier in shared:
        assert classifier.engine.shares_rows
        is_exact = classifier.spec.name.endswith("fp32")
        expected, bound = (portable, 1e-5) if is_exact else (answers(classifier, alone), classifier.spec.batch_bound)
        together = answers(classifier, [texts])
        np.testing.assert_allclose(together, expected, atol=bound, err_msg=classifier.spec.name)
        np.testing.assert_allclose(together, portable, atol=0.2 if classifier.spec.name.endswith("int8") else 0.05)
    assert np.ptp(portable[:, 0]) > 0.3  # answers that are all alike would prove nothing
