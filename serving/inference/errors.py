"""The errors of inference: a broken bundle, or a text that is refused. Each message is for the user."""


class InferenceError(Exception):
    """Base of the errors of this package."""


class BundleBroken(InferenceError):
    """A bundle that is missing or damaged, or whose engines do not give the reference answers."""


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, which names the cause in errors of engines, or the name of its class without a text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


class TextRefused(InferenceError, ValueError):
    """A text that no tokenizer accepts: it contains a lone surrogate or a NUL character."""
