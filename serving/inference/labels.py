"""How a class is named where its own name may not do: in the server's answer, and in pictures without a font for it."""


def label_name(class_id: int) -> str:
    """Return LABEL_<class id>, the form that transformers made common."""
    return f"LABEL_{class_id}"
