"""Fisher's irises: what was measured of 150 flowers, and of which species they are. scikit-learn brings them."""

import numpy as np

FEATURES = ("sepal_length", "sepal_width", "petal_length")
"""In centimetres; what is asked for is the width of the petals, and the species."""

SPECIES = ("setosa", "versicolor", "virginica")


def load() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return features [n] by name, species as int64 [n], and petal widths [n]."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    columns = iris.data.astype(np.float32).T
    features = dict(zip(FEATURES, columns[:3], strict=True))
    return features, iris.target.astype(np.int64), columns[3]
