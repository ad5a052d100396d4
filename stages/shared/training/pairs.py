"""Few texts learnt from in pairs, as SetFit does (Tunstall et al. 2022); docs/lab/few-texts.md, has what that gains.

Texts of one class are drawn together and those of two classes apart, in the mean of their tokens: the 16 texts of a step have 120 pairs.
Then the last layer is solved for by logistic regression, whose penalty keeps few texts from being learnt by heart, and its answers get the
temperature that suits the validation texts.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback

from serving.inference.probabilities import Probabilities, softmax
from stages.shared.batches import Texts
from stages.shared.calibration import cross_entropy, fit_temperature
from stages.shared.errors import StageError
from stages.shared.training.classifier import ClassifierTrainer
from stages.shared.training.sampler import EqualTokenSampler

EVALUATIONS = 5  # about so many


class ContrastiveTrainer(ClassifierTrainer):
    """Trainer whose loss is that of the pairs of a step, and whose last layer is solved for (LastLayer).

    It keeps the last epoch, for the few texts that validate know no best one. Each process computes the whole of every step:
    pairs cannot be shared, and so few texts are not worth it.

    weights: of the classes.
    """

    loss_name = "in pairs"

    def __init__(self, *, weights: Tensor, **options: Any) -> None:
        super().__init__(**options)
        self.weights = weights
        learning = {id(weights) for name, weights in self.model.base_model.named_parameters() if "pooler" not in name}
        for weights in self.model.parameters():
            weights.requires_grad_(id(weights) in learning)  # several processes wait for the gradients of all that learn
        self.add_callback(LastLayer(self))

    def _sampler(self) -> EqualTokenSampler:
        texts: Texts = self.train_dataset
        return EqualTokenSampler(texts.lengths, self._batch_size, self.args.seed, parts=self.args.gradient_accumulation_steps, told=texts)

    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        ids, shown = inputs["input_ids"], inputs["attention_mask"]
        states = model(input_ids=ids, attention_mask=shown, output_hidden_states=True).hidden_states[-1].float()
        means = (states * shown.unsqueeze(-1)).sum(1) / shown.sum(1, keepdim=True)
        return len(ids) * contrastive_loss(means, inputs["labels"], self.weights.to(means.device))


class LastLayer(TrainerCallback):
    """Settle the last layer and evaluate, at the end and at even distances before it, for these epochs take seconds.

    What the log has as the loss of training is then that of the answers to the training texts, as of a training by labels without weights.
    """

    def __init__(self, trainer: ContrastiveTrainer) -> None:
        self._trainer = trainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        left = args.num_train_epochs - round(state.epoch)
        control.should_evaluate = left % max(1, args.num_train_epochs // EVALUATIONS) == 0
        if control.should_evaluate:
            texts, asked = self._trainer.train_dataset, self._trainer.eval_dataset.dataset
            loss = fit_head(self._trainer.model, texts, asked, self._trainer.weights, args.per_device_eval_batch_size)
            state.log_history.append({"epoch": state.epoch, "loss": loss})


def allows_contrastive_training(model: PreTrainedModel, texts: Texts) -> bool:
    """Tell whether it has a state for each token, and a last layer with a bias that is given one vector a text."""
    batch = next(texts.sorted_batches(2, model.config.pad_token_id))
    given: list[Tensor] = []
    last = _last_layer(model)
    if last is None:
        return False
    hook = last.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    with torch.inference_mode():
        found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True)
    hook.remove()
    return found.hidden_states[-1].shape[:2] == batch["input_ids"].shape and [vectors.dim() for vectors in given] == [2]


def _last_layer(model: PreTrainedModel) -> nn.Linear | None:
    """Return the last linear layer if it has a bias and as many outputs as there are classes, or None."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == model.config.num_labels]
    return layers[-1] if layers and layers[-1].bias is not None else None


def contrastive_loss(vectors: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return how far the cosines of all pairs are from 1 within a class and from 0 between classes, squared; both kinds count the same.

    vectors: (texts, width), labels: (texts,), weights: (classes,), of which a pair has the product. A kind of which there is no pair
    counts as 0.
    """
    unit = nn.functional.normalize(vectors, dim=1)
    cosines = unit @ unit.T
    alike = labels[:, None] == labels
    both = weights[labels][:, None] * weights[labels]
    kinds = ((both * alike).fill_diagonal_(0), 1.0), (both * ~alike, 0.0)
    return torch.stack([(shares * (cosines - target).square()).sum() / (shares.sum() or 1.0) for shares, target in kinds]).mean()


def fit_head(model: PreTrainedModel, texts: Texts, asked: Texts, weights: Tensor, texts_at_once: int) -> float:
    """Solve for the last layer on the texts, have it be as sure of the asked ones as it is right, and return its loss on the texts."""
    last = _last_layer(model)
    assert last is not None  # allows_contrastive_training
    vectors, labels = _given_to(last, model, texts, texts_at_once)
    if not vectors.isfinite().all():
        raise StageError("the model is not a number behind the last step: lower train.learning_rate or set train.precision to fp32")
    solve(last, vectors, labels, weights.double().numpy()[labels])
    temperature = fit_temperature(*_answers(last, *_given_to(last, model, asked, texts_at_once)))
    with torch.no_grad():
        last.weight.div_(temperature)
        last.bias.div_(temperature)
    return cross_entropy(*_answers(last, vectors, labels))


def _given_to(last: nn.Linear, model: PreTrainedModel, texts: Texts, texts_at_once: int) -> tuple[Tensor, NDArray[np.int64]]:
    """Return what the last layer is given for the texts (texts, width), and their labels (texts,)."""
    given: list[Tensor] = []
    labels: list[int] = []
    hook = last.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0].float().cpu()))
    model.eval()
    with torch.inference_mode():
        for batch in texts.sorted_batches(texts_at_once, model.config.pad_token_id):
            model(**{name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")})
            labels += batch["labels"].tolist()
    hook.remove()
    return torch.cat(given), np.array(labels)


def _answers(last: nn.Linear, vectors: Tensor, labels: NDArray[np.int64]) -> tuple[Probabilities, NDArray[np.int64]]:
    with torch.inference_mode():
        return softmax(nn.functional.linear(vectors, last.weight.cpu(), last.bias.cpu()).double().numpy()), labels


def solve(last: nn.Linear, vectors: Tensor, labels: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Make the layer the logistic regression of vectors (texts, width) and labels (texts,); a class that has none becomes unlikely.

    shares: (texts,), how much each text counts, of which the mean changes nothing.
    """
    features = vectors.double().numpy()
    length = float(np.sqrt((features**2).sum(1).mean())) or 1.0  # the penalty of the regression is made for vectors of about 1
    classes, counts = np.unique(labels, return_counts=True)
    weights, biases = np.zeros((len(classes), features.shape[1])), np.zeros(len(classes))
    if len(classes) > 1:
        found = LogisticRegression(max_iter=1000).fit(features / length, labels, shares / shares.mean())
        weights, biases = found.coef_ / length, found.intercept_
        if len(classes) == 2:  # it gives one row, the difference of two
            weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(float(biases.min()) - math.log(counts.sum() + 1))
        last.weight[classes] = torch.tensor(weights, dtype=last.weight.dtype, device=last.weight.device)
        last.bias[classes] = torch.tensor(biases, dtype=last.bias.dtype, device=last.bias.device)
