# Classify the column "review" of reviews.csv, sent as the body and then as a file of a form.
curl -s -X POST -T reviews.csv -H "Content-Type: text/csv" "http://127.0.0.1:8000/predict/file?column=review"
curl -s -F file=@reviews.csv "http://127.0.0.1:8000/predict/file?column=review"
