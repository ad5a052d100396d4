"""INT8: the embeddings stay in 8 bits, which changes no answer."""

import platform
from pathlib import Path

import numpy as np
import pytest

from serving.inference.bundle import read_bundle
from serving.inference.engines import OpenVinoEngine, openvino_core
from serving.inference.packing import Batch
from serving.inference.tokens import BundleTokenizer
from stages.shared.engines import int8

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO's engines are for x86")
TEXTS = [f"the {thing} was very {word}" for thing in ("film", "food", "phone") for word in ("good", "bad", "lovely", "awful")]


@pytest.fixture(scope="module")
def token_ids(tiny_bundle: Path) -> list[np.ndarray]:
    return BundleTokenizer(read_bundle(tiny_bundle)).tokenize(TEXTS).token_ids


@pytest.fixture(scope="module")
def quantized(tiny_bundle: Path, token_ids: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("int8") / "model.xml"
    int8.quantize(tiny_bundle / "model.onnx", token_ids, 0.5, file)
    return file


def test_embeddings_are_looked_up_in_8_bits(quantized: Path) -> None:
    import openvino

    model = openvino_core().read_model(quantized)
    tables = [node.input_value(0) for node in model.get_ordered_ops() if node.get_type_name() == "Gather"]
    assert openvino.Type.i8 in {table.get_element_type() for table in tables}
    assert "Multiply" not in {table.get_node().get_type_name() for table in tables}


def test_lookup_in_8_bits_changes_no_answer(
    tiny_bundle: Path, quantized: Path, token_ids: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(int8, "keep_embeddings_in_int8", lambda model: None)
    int8.quantize(tiny_bundle / "model.onnx", token_ids, 0.5, tmp_path / "plain.xml")
    engines = [OpenVinoEngine(file, "f32", 1, None) for file in (quantized, tmp_path / "plain.xml")]
    kept, plain = (np.concatenate([engine.logits(Batch.of(ids)) for ids in token_ids]) for engine in engines)
    assert np.ptp(kept) > 1  # answers that are all alike would prove nothing
    np.testing.assert_array_equal(kept, plain)
