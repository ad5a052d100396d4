"""The neutral name of a class, for answers of the server and for pictures whose font lacks the class name."""


def label_name(class_id: int) -> str:
    """Return LABEL_<class id>, as transformers does."""
    return f"LABEL_{class_id}"
