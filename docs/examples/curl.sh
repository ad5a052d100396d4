# Classify one text. Start the server first: make serve
curl -s -X POST http://127.0.0.1:8000/predict -d "text=The battery lasts two days and the screen is lovely."
