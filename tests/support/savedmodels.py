"""Models made by the real TensorFlow, for the server's tests.

double/      y = 2 x + version (TF2, one float vector)
kinds/       every element type that requests can carry, each returned as it came (TF1)
columns/     two inputs with different types, three outputs, one of them ending in _bytes (TF2)
words/       a lookup table read from an asset (TF2)
defaults…/   further signatures
old/         a TF1 export with a variable, an init op, two tag sets and a lookup table
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

KINDS = (
    "float",
    "double",
    "int32",
    "uint8",
    "int16",
    "int8",
    "string",
    "complex64",
    "int64",
    "bool",
    "bfloat16",
)
KINDS_MORE = ("uint16", "complex128", "half", "uint32", "uint64")
QUANTIZED = ("qint8", "quint8", "qint16", "quint16", "qint32")
TINY = (
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
    "float4_e2m1fn",
    "int4",
    "uint4",
    "int2",
    "uint2",
)


def save_double(directory: Path, version: int, *, size: int = 0) -> None:
    """Save `y = 2 x + version`; `size` floats of ballast make the export larger."""
    import tensorflow as tf

    class Double(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.offset = tf.Variable(float(version))
            self.ballast = tf.Variable(tf.zeros([size]))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": 2.0 * x + self.offset}

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def scalar(self, x: Any) -> Any:
            return {"y": 2.0 * x + self.offset, "nothing": tf.zeros([0, 3])}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def checked(self, x: Any) -> Any:
            with tf.control_dependencies(
                [tf.debugging.assert_positive(x, message="x must be positive")]
            ):
                return {"y": tf.identity(x)}

    module = Double()
    tf.saved_model.save(
        module,
        str(directory),
        signatures={
            "serving_default": module.call,
            "scalar": module.scalar,
            "checked": module.checked,
        },
    )


def save_kinds(directory: Path) -> None:
    """Save one signature per element type, named like the type: `y = identity(x)` of any shape."""
    import tensorflow.compat.v1 as tf

    names = {"float": tf.float32, "double": tf.float64, "half": tf.float16}
    names |= {name: getattr(tf.dtypes.experimental, name) for name in TINY}
    signatures = {}
    with tf.Graph().as_default(), tf.Session() as session:
        for name in (*KINDS, *KINDS_MORE, *QUANTIZED, *TINY):
            x = tf.placeholder(names.get(name) or getattr(tf, name), None)
            signatures[name] = tf.saved_model.predict_signature_def({"x": x}, {"y": tf.identity(x)})
        signatures["serving_default"] = signatures["float"]
        builder = tf.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def save_columns(directory: Path) -> None:
    """Save a model of two inputs: `image` (strings) and `k` (int64)."""
    import tensorflow as tf

    class Columns(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.one = tf.Variable(1, dtype=tf.int64)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="image"),
                tf.TensorSpec([None], tf.int64, name="k"),
            ]
        )  # type: ignore[untyped-decorator]
        def call(self, image: Any, k: Any) -> Any:
            return {"raw_bytes": image, "text": tf.strings.as_string(k), "next": k + self.one}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, name="a"),
                tf.TensorSpec([None], tf.float32, name="b"),
            ]
        )  # type: ignore[untyped-decorator]
        def uneven(self, a: Any, b: Any) -> Any:
            return {"a": a, "b": tf.concat([b, b], 0)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def strange(self, x: Any) -> Any:
            return {"complex": tf.cast(x, tf.complex64), "nan": x / 0.0}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="b")])  # type: ignore[untyped-decorator]
        def doubled(self, b: Any) -> Any:
            return {"b": tf.concat([b, b], 0)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def infinite(self, x: Any) -> Any:
            return {"y": x / 0.0}

    module = Columns()
    tf.saved_model.save(
        module,
        str(directory),
        signatures={
            "serving_default": module.call,
            "uneven": module.uneven,
            "strange": module.strange,
            "doubled": module.doubled,
            "infinite": module.infinite,
        },
    )


def save_words(directory: Path, words: Path) -> None:
    """Save a lookup of words in a file, which becomes an asset."""
    import tensorflow as tf

    words.write_text("zero\none\ntwo\n")

    class Words(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    str(words),
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                default_value=-1,
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])  # type: ignore[untyped-decorator]
        def call(self, word: Any) -> Any:
            return {"id": self.table.lookup(word)}

    module = Words()
    tf.saved_model.save(module, str(directory), signatures=module.call)
    words.unlink()  # what is served must come from the export


def save_old(directory: Path, words: Path) -> None:
    """Save a TensorFlow 1 export: two meta-graphs, a variable, a table initialised by the legacy init op, an asset."""
    import tensorflow.compat.v1 as tf

    words.write_text("a\nb\n")
    builder = tf.saved_model.Builder(str(directory))
    for number, tags in enumerate((["serve"], ["serve", "gpu"])):
        with tf.Graph().as_default(), tf.Session() as session:
            x = tf.placeholder(tf.float32, [None], name="x")
            scale = tf.get_variable("scale", initializer=3.0)
            y = tf.multiply(x, scale + number, name="y")
            asset = tf.constant(str(words), name="words")
            tf.add_to_collection(tf.GraphKeys.ASSET_FILEPATHS, asset)
            table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    asset,
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                -1,
            )
            word = tf.placeholder(tf.string, [None], name="word")
            found = table.lookup(word)
            session.run([tf.global_variables_initializer(), tf.tables_initializer()])
            info = tf.saved_model.build_tensor_info
            signature = tf.saved_model.build_signature_def
            signatures = {
                "serving_default": signature(
                    {"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict"
                ),
                "find": signature(
                    {"word": info(word)}, {"id": info(found)}, "tensorflow/serving/predict"
                ),
            }
            if number == 0:
                builder.add_meta_graph_and_variables(
                    session,
                    tags,
                    signatures,
                    assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
                    legacy_init_op=tf.tables_initializer(),
                )
            else:
                builder.add_meta_graph(
                    tags,
                    signatures,
                    assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
                    legacy_init_op=tf.tables_initializer(),
                )
    builder.save()
    words.unlink()


def save_constant(directory: Path) -> None:
    """Save a TensorFlow 1 graph without any variable: no saver, no variables/ directory."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None], name="x")
        y = x + 1.0
        tf.saved_model.simple_save(session, str(directory), {"x": x}, {"y": y})


def save_parsed(directory: Path) -> None:
    """Save a model that reads numbers, and fails for what is none; it has no state."""
    import tensorflow as tf

    class Parsed(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
        def parse(self, text: Any) -> Any:
            return {"number": tf.strings.to_number(text)}

    module = Parsed()
    tf.saved_model.save(module, str(directory), signatures=module.parse)


def save_slow(directory: Path) -> None:
    """Save a model that waits: `seconds` of the first row, one run at a time, without using a processor.

    If they are negative, until a test lets the run go (`held_runs`), which is told by files beside the model's.
    `size` is the number of rows that ran together; signature `count` tells the runs so far, `wide` takes rows of any
    length and returns each one's sum, `total` is one number for all rows.
    """
    import tensorflow as tf
    from tensorflow.python.data.experimental.ops import testing

    def sleep(seconds: Any) -> Any:
        # The data set sleeps before its element and before its end.
        pause = tf.cast(seconds * 5e5, tf.int64)
        data = tf.data.Dataset.range(1).apply(testing.sleep(pause))
        return data.reduce(tf.constant(0, tf.int64), lambda a, b: a + b)

    class Slow(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.runs = tf.Variable(0, dtype=tf.int32)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="seconds")])  # type: ignore[untyped-decorator]
        def wait(self, seconds: Any) -> Any:
            counted = self.runs.assign_add(1)
            held = tf.strings.as_string(tf.cast(-seconds[0], tf.int32))
            slept = sleep(tf.maximum(seconds[0], 0.0))
            if seconds[0] < 0:
                tf.io.write_file(tf.strings.join([f"{directory}/begun", held]), "")
                go = tf.strings.join([f"{directory}/go", held])
                while tf.equal(tf.size(tf.io.matching_files(go)), 0):
                    slept = sleep(0.005)
            with tf.control_dependencies([slept, counted]):
                return {
                    "waited": tf.identity(seconds),
                    "size": tf.fill(tf.shape(seconds), tf.shape(seconds)[0]),
                }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="rows")])  # type: ignore[untyped-decorator]
        def count(self, rows: Any) -> Any:
            return {"runs": tf.fill(tf.shape(rows), self.runs)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None], tf.float32, name="rows"),
                tf.TensorSpec([None], tf.float32, name="seconds"),
            ]
        )  # type: ignore[untyped-decorator]
        def wide(self, rows: Any, seconds: Any) -> Any:
            waited = self.wait(seconds)
            return {"sum": tf.reduce_sum(rows, 1) + 0.0 * waited["waited"], "size": waited["size"]}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="rows")])  # type: ignore[untyped-decorator]
        def total(self, rows: Any) -> Any:
            return {"total": tf.reduce_sum(rows) + 0.0 * tf.cast(self.runs, tf.float32)}

    module = Slow()
    tf.saved_model.save(
        module,
        str(directory),
        signatures={
            "serving_default": module.wait,
            "count": module.count,
            "wide": module.wide,
            "total": module.total,
        },
    )
