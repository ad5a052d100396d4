// Classify one text from a web page or from Node. A page on another origin needs SENTIMENT_CORS_ORIGINS.
const form = new FormData();
form.append("text", "The update fixed everything, thank you!");
const answer = await fetch("http://127.0.0.1:8000/predict", { method: "POST", body: form });
console.log(await answer.json());
