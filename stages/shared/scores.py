"""How good the answers of an epoch are: what the learning curve shows, and what decides which epoch is kept."""

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from serving.inference.probabilities import softmax
from stages.shared.calibration import at_temperature, cross_entropy, fit_temperature


def scores(prediction: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Return mean cross-entropy, as it is and once calibrated, accuracy and macro F1 of logits (texts, classes) against label ids (texts,).

    Late epochs are better and too sure of themselves, which costs loss until export calibrates them; doubt, which early epochs have, is
    left as it is. The Trainer's own eval_loss is a mean over the batches of all processes, of which some hold a text twice.
    """
    logits, labels = prediction
    predicted = logits.argmax(axis=-1)
    probabilities = softmax(logits)
    calibrated = at_temperature(probabilities, max(1.0, fit_temperature(probabilities, labels)))
    return {
        "cross_entropy": cross_entropy(probabilities, labels),
        "calibrated_cross_entropy": cross_entropy(calibrated, labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted, labels=range(logits.shape[-1]), average="macro", zero_division=0)),
    }
