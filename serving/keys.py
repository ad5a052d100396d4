"""API keys: make a key, and print the setting with which the server knows it.

python -m serving.keys predict        prints a key for the client and SENTIMENT_API_KEYS for the server
"""

import argparse
import hashlib
import json
import secrets


def digest(key: str) -> str:
    """Return the sha256 of a key in hexadecimal. Keys are random and long, so they need no salt."""
    return hashlib.sha256(key.encode()).hexdigest()


def main() -> None:
    """Make a key."""
    parser = argparse.ArgumentParser("python -m serving.keys", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=("predict", "admin"), help="predict: may classify texts; admin: may also change the bundle")
    key, role = secrets.token_urlsafe(32), parser.parse_args().role
    print(f"key for the client (not shown again): {key}")
    print(f"for the server: SENTIMENT_API_KEYS='{json.dumps({digest(key): role})}'  (for several keys, put all into one object)")


if __name__ == "__main__":
    main()
