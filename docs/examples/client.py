"""Classify one text from Python."""

import requests

answer = requests.post("http://127.0.0.1:8000/predict", data={"text": "The food was cold and the waiter ignored us."})
print(answer.json())
