"""What the inference code says when it cannot answer."""


class InferenceError(Exception):
    """Base of the errors of this package; the text is a sentence for the user."""


class BundleBroken(InferenceError):
    """A bundle that is missing, damaged, or answers otherwise than when it was made."""


class TextRefused(InferenceError, ValueError):
    """A text that no tokenizer can take: a lone surrogate or a NUL character."""
