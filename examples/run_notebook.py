"""Run the code of a notebook from top to bottom, without Jupyter.

python -m run_notebook examples/segmentation/client.ipynb
"""

import argparse
import json
import sys
from pathlib import Path


def main() -> None:
    """Run every cell in one namespace; what it prints is shown, the value of its last line is not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("arguments", nargs="*", help="sys.argv[1:] of the notebook")
    given = parser.parse_args()
    sys.argv = [str(given.notebook), *given.arguments]
    cells = json.loads(given.notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"{given.notebook}, cell {number}", "exec")
            exec(code, names)  # noqa: S102 - that is what it is for


if __name__ == "__main__":
    main()
