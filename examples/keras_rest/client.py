"""Send the first ten test digits over REST and print the answers above the labels.

python -m keras_rest.client --url=http://localhost:8501/v1/models/MLP [--signature_name=call]
"""

import argparse

import numpy as np
import requests

import handwritten_digits
from handwritten_digits import SIDE

IMAGES = 10
TIMEOUT_SECONDS = 10


def ask(method: str, url: str, body: dict | None = None) -> dict:
    """Return what a server answers; a refusal ends the program with the server's own sentence."""
    try:
        response = requests.request(method, url, json=body, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise SystemExit(f"{url}: no answer: {error}") from None
    if not response.ok:
        raise SystemExit(f"{url}: {response.status_code}: {response.json()['error']}")
    return response.json()


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8501/v1/models/MLP")
    parser.add_argument("--signature_name", default="", help="by default the server's choice")
    handwritten_digits.add_arguments(parser)
    arguments = parser.parse_args()
    digits = handwritten_digits.load(arguments.data, arguments.work_dir)
    images = digits.test_images[:IMAGES].reshape(-1, SIDE, SIDE, 1)
    data = {"instances": images.tolist()}
    if arguments.signature_name:
        data["signature_name"] = arguments.signature_name
    model = ask("GET", f"{arguments.url}/metadata")["model_spec"]
    answer = ask("POST", f"{arguments.url}:predict", data)
    print(np.argmax(answer["predictions"], axis=-1))
    print(digits.test_labels[:IMAGES])
    print(f"Answered by version {model['version']} of {model['name']}")


if __name__ == "__main__":
    main()
