"""An engine starts with the precision that its bundle names, or says why it cannot."""

import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.inference.bundle import Bundle, read_bundle
from serving.inference.engines import start_engine
from serving.inference.errors import BundleBroken
from serving.inference.packing import Packer
from tests.running import run_command

X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO serves on x86 only")


@pytest.fixture
def bundle(copied_bundle: Path) -> Bundle:
    return read_bundle(copied_bundle)


def test_every_engine_gives_a_row_of_logits_for_each_text(bundle: Bundle) -> None:
    token_ids = [[2, 5, 6, 3], [2, 7, 3]]
    for spec in bundle.engines:
        engine = start_engine(spec, bundle.folder, threads=1)
        packer = Packer(bundle.max_length, bundle.pad_token_id, shared_rows=engine.shares_rows)
        logits = np.concatenate([engine.logits(batch)[rows] for _, rows, batch in packer.pack(token_ids)])
        assert logits.shape == (2, len(bundle.class_names)), spec.name
        assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"runtime": "abacus"}, "needs the unknown runtime 'abacus': update the server"),
        ({"runtime": "onnxruntime", "precision": "f8"}, "ONNX Runtime has no precision hint 'f8'"),
        pytest.param({"runtime": "openvino", "precision": "f8"}, "OpenVINO cannot load", marks=X86),
    ],
    ids=["runtime", "precision of ONNX Runtime", "precision of OpenVINO"],
)
def test_engine_that_this_version_does_not_know_is_refused(bundle: Bundle, changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(BundleBroken, match=sentence):
        start_engine(replace(bundle.engines[-1], **changes), bundle.folder)


@pytest.mark.parametrize(("runtime", "name"), [pytest.param("openvino", "OpenVINO", marks=X86), ("onnxruntime", "ONNX Runtime")])
def test_damaged_model_is_refused_with_the_name_of_the_runtime(bundle: Bundle, runtime: str, name: str) -> None:
    (bundle.folder / "model.onnx").write_bytes(b"damaged")
    spec = replace(bundle.engines[-1], runtime=runtime, files=("model.onnx",), precision="f32")
    with pytest.raises(BundleBroken, match=f"{name} cannot load .*: build the bundle again"):
        start_engine(spec, bundle.folder)


DROPS_TWO_ENGINES = """
import gc, os, signal, sys
from pathlib import Path
from serving.inference.bundle import read_bundle
from serving.inference.engines import start_engine

bundle = read_bundle(Path(sys.argv[1]))
spec = next(spec for spec in bundle.engines if spec.runtime == "openvino")
engines = [start_engine(spec, bundle.folder, threads=1) for _ in range(2)]
while engines:
    engines.pop(0)
    gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@X86
def test_process_that_has_dropped_engines_still_handles_signals(tiny_bundle: Path) -> None:
    """With a Core for each engine this process ended in a segmentation fault."""
    done = run_command(sys.executable, "-c", DROPS_TWO_ENGINES, tiny_bundle)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
