"""API keys: makes one, and prints its digest for the server.

python -m serving.keys predict        makes a key, and prints what SENTIMENT_API_KEYS is to hold for it
"""

import argparse
import hashlib
import json
import secrets


def digest(key: str) -> str:
    """Return the sha256 of a key in hexadecimal. Keys are random and long, so that it needs no salt."""
    return hashlib.sha256(key.encode()).hexdigest()


def main() -> None:
    """Make a key."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=("predict", "admin"), help="predict: may have texts classified; admin: may also change the model")
    key, role = secrets.token_urlsafe(32), parser.parse_args().role
    print(f"key (shown this once; for the client): {key}")
    print(f"for the server: SENTIMENT_API_KEYS='{json.dumps({digest(key): role})}'  (several: one object with all of them)")


if __name__ == "__main__":
    main()
