"""The model of `mlflow models serve`: `python -m benchmarks.serving.peers.mlflow_model FOLDER` saves it in the folder.

ENGINE chooses the pipeline, in MLflow's transformers flavor, or our classifier, as a pyfunc with this file as its code.
"""

import os
import sys
from pathlib import Path
from typing import Any

import mlflow

from benchmarks.serving.peers.engine import start, torch_pipeline


class Sentiment(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:
        self.classify = start()

    def predict(self, model_input: list[str]) -> list[dict[str, Any]]:
        return self.classify(model_input)


def save(folder: Path) -> None:
    """Save the model of ENGINE into a folder."""
    if os.environ["ENGINE"] == "torch":
        mlflow.transformers.save_model(torch_pipeline(), folder, pip_requirements=["torch", "transformers"])
    else:
        mlflow.pyfunc.save_model(folder, python_model=__file__, pip_requirements=["mlflow"])


if __name__ == "__main__":
    save(Path(sys.argv[1]))
else:
    mlflow.models.set_model(Sentiment())
