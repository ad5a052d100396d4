"""The errors of inference. Each text is an error message for the user."""


class InferenceError(Exception):
    """Base of the errors of this package."""


class BundleBroken(InferenceError):
    """A bundle that is missing or damaged, or whose engines do not give the reference answers."""


class TextRefused(InferenceError, ValueError):
    """A text that no tokenizer accepts: it contains a lone surrogate or a NUL character."""
