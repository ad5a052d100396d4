"""`serving.app`, which plain uvicorn imports."""

import sys

from tests.running import run_command


def test_server_needs_neither_torch_nor_the_training_side() -> None:
    done = run_command(sys.executable, "-c", "import sys, serving.app; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not roots & {"torch", "transformers", "mlflow", "pandas", "sklearn", "matplotlib", "stages"}
