"""Contrastive training: learning from pairs of few texts, as SetFit does (Tunstall et al. 2022). docs/lab/few-texts.md has its gain.

In: a classifier and tokenized texts. Out: the same classifier, trained. A text is represented by the mean of its token states.
Training moves texts of one class together and texts of two classes apart; the 16 texts of a step make 120 pairs.
Then logistic regression computes the head. Its penalty keeps the head from memorizing few texts.
The penalty also makes the head under-confident, so the head gets the temperature that suits the validation texts.
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

EVALUATIONS = 5  # of a training, about


class ContrastiveTrainer(ClassifierTrainer):
    """Train on the pairs of each step; HeadFitter then fits the head.

    It keeps the last epoch, because few validation texts cannot tell which one is best. Each process computes every step in full:
    a pair needs both of its texts, and so few texts are not worth the exchange. weights: of the classes.
    """

    loss_name = "contrastive training"

    def __init__(self, *, weights: Tensor, **options: Any) -> None:
        super().__init__(**options)
        self.weights = weights
        freeze_head(self.model)
        self.add_callback(HeadFitter(self))

    def sampler(self) -> EqualTokenSampler:
        texts: Texts = self.train_dataset
        return EqualTokenSampler(
            texts.lengths, self._batch_size, self.args.seed, micro_batches=self.args.gradient_accumulation_steps, listener=texts
        )

    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-1].float()
        means = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        return len(ids) * contrastive_loss(means, inputs["labels"], self.weights.to(means.device))


class HeadFitter(TrainerCallback):
    """Fit the head and evaluate after the last epoch, and at even intervals before it, because these epochs take seconds.

    The log gets the loss of the head on the training texts. It compares with the training loss of an unweighted cross-entropy training.
    """

    def __init__(self, trainer: ContrastiveTrainer) -> None:
        self._trainer = trainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        epochs_left = args.num_train_epochs - round(state.epoch)
        control.should_evaluate = epochs_left % max(1, args.num_train_epochs // EVALUATIONS) == 0
        if control.should_evaluate:
            texts, validation = self._trainer.train_dataset, self._trainer.eval_dataset.dataset
            loss = fit_head(self._trainer.model, texts, validation, self._trainer.weights, args.per_device_eval_batch_size)
            state.log_history.append({"epoch": state.epoch, "loss": loss})


def freeze_head(model: PreTrainedModel) -> None:
    """Freeze what the token states do not need, the pooler too: several processes wait for the gradient of every trained parameter."""
    trained = {id(parameter) for name, parameter in model.base_model.named_parameters() if "pooler" not in name}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)


def allows_contrastive_training(model: PreTrainedModel, texts: Texts) -> bool:
    """Tell whether the model has a state for each token, and a linear head with a bias that takes one vector for each text."""
    head = _head_of(model)
    if head is None:
        return False
    batch = next(texts.sorted_batches(2, model.config.pad_token_id))
    inputs: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    with torch.inference_mode():
        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True)
    hook.remove()
    return output.hidden_states[-1].shape[:2] == batch["input_ids"].shape and [vectors.dim() for vectors in inputs] == [2]


def _head_of(model: PreTrainedModel) -> nn.Linear | None:
    """Return the last linear layer with an output for each class; None without such a layer, or without a bias in it."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == model.config.num_labels]
    return layers[-1] if layers and layers[-1].bias is not None else None


def contrastive_loss(vectors: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean squared distance of the cosines from 1 within a class and from 0 between classes; both kinds of pairs count the same.

    vectors: (texts, width). labels: (texts,). weights: (classes,); a pair weighs the product of its two. A kind without a pair counts as 0.
    """
    unit = nn.functional.normalize(vectors, dim=1)
    cosines = unit @ unit.T
    alike = labels[:, None] == labels
    both = weights[labels][:, None] * weights[labels]
    kinds = ((both * alike).fill_diagonal_(0), 1.0), (both * ~alike, 0.0)
    return torch.stack([(shares * (cosines - target).square()).sum() / (shares.sum() or 1.0) for shares, target in kinds]).mean()


def fit_head(model: PreTrainedModel, texts: Texts, validation: Texts, weights: Tensor, batch_size: int) -> float:
    """Fit the head on the training texts, calibrate it on the validation texts, and return its loss on the training texts."""
    head = _head_of(model)
    assert head is not None  # allows_contrastive_training
    vectors, labels = head_inputs(head, model, texts, batch_size)
    if not vectors.isfinite().all():
        raise StageError("the weights are NaN after the last step: lower train.learning_rate or set train.precision to fp32")
    fit_regression(head, vectors, labels, weights.double().numpy()[labels])
    temperature = fit_temperature(*_probabilities(head, *head_inputs(head, model, validation, batch_size)))
    with torch.no_grad():
        head.weight.div_(temperature)
        head.bias.div_(temperature)
    return cross_entropy(*_probabilities(head, vectors, labels))


def head_inputs(head: nn.Linear, model: PreTrainedModel, texts: Texts, batch_size: int) -> tuple[Tensor, NDArray[np.int64]]:
    """Return the inputs of the head (texts, width) and the labels (texts,); the shortest text comes first."""
    inputs: list[Tensor] = []
    labels: list[int] = []
    hook = head.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].float().cpu()))
    model.eval()
    with torch.inference_mode():
        for batch in texts.sorted_batches(batch_size, model.config.pad_token_id):
            model(**{name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")})
            labels += batch["labels"].tolist()
    hook.remove()
    return torch.cat(inputs), np.array(labels)


def _probabilities(head: nn.Linear, vectors: Tensor, labels: NDArray[np.int64]) -> tuple[Probabilities, NDArray[np.int64]]:
    """Return the head's probabilities (texts, classes) for its inputs, and the labels unchanged."""
    with torch.inference_mode():
        return softmax(nn.functional.linear(vectors, head.weight.cpu(), head.bias.cpu()).double().numpy()), labels


def fit_regression(head: nn.Linear, vectors: Tensor, labels: NDArray[np.int64], sample_weights: NDArray[np.float64]) -> None:
    """Set the head to the logistic regression of labels (texts,) on vectors (texts, width); a class without texts becomes unlikely.

    sample_weights: (texts,). Only their ratios count.
    """
    features = vectors.double().numpy()
    length = float(np.sqrt((features**2).sum(1).mean())) or 1.0  # the penalty of the regression suits vectors of a length of about 1
    classes, counts = np.unique(labels, return_counts=True)
    weights, biases = np.zeros((len(classes), features.shape[1])), np.zeros(len(classes))
    if len(classes) > 1:
        fitted = LogisticRegression(max_iter=1000).fit(features / length, labels, sample_weights / sample_weights.mean())
        weights, biases = fitted.coef_ / length, fitted.intercept_
        if len(classes) == 2:  # scikit-learn then gives one row, the difference of two
            weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(float(biases.min()) - math.log(counts.sum() + 1))
        head.weight[classes] = torch.tensor(weights, dtype=head.weight.dtype, device=head.weight.device)
        head.bias[classes] = torch.tensor(biases, dtype=head.bias.dtype, device=head.bias.device)
