"""SetFit on CSV files, as its documentation shows it. It runs in the environment of the peer and prints {"accuracy", "seconds"}.

python benchmarks/few/setfit_peer.py models/base train.csv test.csv 20 7
"""

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments


def read(file: Path) -> tuple[list[str], list[int]]:
    """Return the texts and label ids of a CSV file whose first line names the columns."""
    with file.open(encoding="utf-8", newline="") as stream:
        _, *rows = csv.reader(stream)
    return [text for text, _ in rows], [int(label) for _, label in rows]


def main() -> None:
    """Train on the train file, and score on the test file."""
    base, train_file, test_file, iterations, seed = sys.argv[1:]
    texts, labels = read(Path(train_file))
    test_texts, expected = read(Path(test_file))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=SetFitModel.from_pretrained(base, normalize_embeddings=True),
            args=TrainingArguments(folder, batch_size=16, num_epochs=1, num_iterations=int(iterations), seed=int(seed), report_to="none"),
            train_dataset=Dataset.from_dict({"text": texts, "label": labels}),
        )
        trainer.train()
    seconds = time.monotonic() - started
    answers = trainer.model.predict(test_texts).tolist()
    right = sum(answer == label for answer, label in zip(answers, expected, strict=True))
    print(json.dumps({"accuracy": right / len(expected), "seconds": seconds}))


if __name__ == "__main__":
    main()
