"""Send the first ten test digits over REST and print the answers above the labels.

python -m tutorials.keras_client --url=http://localhost:8501/v1/models/MLP [--signature=call]
"""

import argparse
import json

import numpy as np
import requests

from digits.train import load


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8501/v1/models/MLP")
    parser.add_argument("--signature", default="")
    arguments = parser.parse_args()
    digits = load()
    body = {"instances": digits.test_images[:10].reshape(-1, 8, 8, 1).tolist()}
    if arguments.signature:
        body["signature_name"] = arguments.signature
    answer = requests.post(
        f"{arguments.url}:predict",
        data=json.dumps(body),
        headers={"content-type": "application/json"},
        timeout=10,
    )
    if not answer.ok:
        raise SystemExit(f"{answer.status_code}: {answer.json()['error']}")
    print(np.argmax(answer.json()["predictions"], axis=-1))
    print(digits.test_labels[:10])


if __name__ == "__main__":
    main()
