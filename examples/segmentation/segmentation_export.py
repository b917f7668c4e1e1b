"""Train a segmentation network on generated shapes and export it with SavedModelBuilder.

python -m segmentation.segmentation_export --model_version=1 /tmp/versions
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from segmentation.shapes import CLASSES, picture

SIDE = 64
BATCH = 8
CHANNELS = 24
RATES = (1, 2, 4, 8, 1)
"""Of the atrous convolutions: how far apart the pixels are that one of them looks at. Each sees more of the picture."""

v1 = tf.compat.v1
builders = v1.saved_model


def network(image: tf.Tensor) -> tf.Tensor:
    """Return a score for each pixel and class [n, h, w, 4], of images [n, h, w, 3] in 0 … 255."""
    layer = tf.cast(image, tf.float32) / 127.5 - 1.0
    for number, rate in enumerate(RATES):
        deep = int(layer.shape[3])
        kernel = v1.get_variable(
            f"layer{number}/kernel",
            [3, 3, deep, CHANNELS],
            initializer=v1.initializers.he_normal(seed=number),
        )
        bias = v1.get_variable(
            f"layer{number}/bias", [CHANNELS], initializer=v1.zeros_initializer()
        )
        layer = tf.nn.relu(tf.nn.conv2d(layer, kernel, 1, "SAME", dilations=rate) + bias)
    last = v1.get_variable(
        "scores/kernel",
        [1, 1, CHANNELS, len(CLASSES)],
        initializer=v1.initializers.he_normal(seed=99),
    )
    return tf.nn.conv2d(layer, last, 1, "SAME")


def train(checkpoint: str, steps: int) -> float:
    """Train, write the variables, and return the share of pixels that are right in new pictures."""
    random = np.random.default_rng(0)

    def batch() -> tuple[np.ndarray, np.ndarray]:
        images, masks = zip(*(picture(random, SIDE, SIDE, 4) for _ in range(BATCH)), strict=True)
        return np.stack(images), np.stack(masks)

    with tf.Graph().as_default(), v1.Session() as sess:
        image = v1.placeholder(tf.uint8, [None, SIDE, SIDE, 3])
        mask = v1.placeholder(tf.uint8, [None, SIDE, SIDE])
        scores = network(image)
        right = tf.equal(tf.argmax(scores, axis=3), tf.cast(mask, tf.int64))
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=tf.cast(mask, tf.int32), logits=scores
            )
        )
        saver = v1.train.Saver()
        step = v1.train.AdamOptimizer(3e-3).minimize(loss)
        sess.run(v1.global_variables_initializer())
        for _ in range(steps):
            images, masks = batch()
            sess.run(step, {image: images, mask: masks})
        saver.save(sess, checkpoint)
        images, masks = batch()
        return float(np.mean(sess.run(right, {image: images, mask: masks})))


def segmented(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor, shrink: int) -> tf.Tensor:
    """Return the class of each pixel [1, height, width, 1]; a shrunk picture costs a fraction of the work."""
    if shrink > 1:
        image = tf.image.resize(tf.cast(image, tf.float32), [height // shrink, width // shrink])
    scores = tf.image.resize(network(image), [height, width])
    return tf.cast(tf.argmax(scores, axis=3)[:, :, :, tf.newaxis], tf.uint8)


def add_graph(
    builder: builders.Builder, tag: str, shrink: int, checkpoint: str, asset: str
) -> None:
    """Add one graph. All graphs of an export share the variables, which come with the first of them."""
    with tf.Graph().as_default(), v1.Session() as sess:
        input_tensor = v1.placeholder(tf.uint8, [None, None, None, 3], name="image")
        image_height_tensor = v1.placeholder(tf.int32, [], name="height")
        image_width_tensor = v1.placeholder(tf.int32, [], name="width")
        encoded = v1.placeholder(tf.string, [None], name="image_bytes")
        numbers = v1.placeholder(tf.int64, [None], name="numbers")
        with v1.variable_scope("", reuse=v1.AUTO_REUSE):
            predictions_tf = segmented(
                input_tensor, image_height_tensor, image_width_tensor, shrink
            )
            decoded = tf.io.decode_png(encoded[0], channels=3)[tf.newaxis]
            size = tf.shape(decoded)
            from_bytes = segmented(decoded, size[1], size[2], shrink)
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value="?",
        )
        names = table.lookup(numbers)
        v1.train.Saver().restore(sess, checkpoint)

        tensor_info = builders.utils.build_tensor_info
        build = builders.signature_def_utils.build_signature_def
        method = builders.signature_constants.PREDICT_METHOD_NAME
        signatures = {
            "predict_images": build(
                inputs={
                    "image": tensor_info(input_tensor),
                    "height": tensor_info(image_height_tensor),
                    "width": tensor_info(image_width_tensor),
                },
                outputs={"segmentation_map": tensor_info(predictions_tf)},
                method_name=method,
            ),
            "predict_bytes": build(
                inputs={"image_bytes": tensor_info(encoded)},
                outputs={"segmentation_map": tensor_info(from_bytes)},
                method_name=method,
            ),
            "class_names": build(
                inputs={"numbers": tensor_info(numbers)},
                outputs={"names": tensor_info(names)},
                method_name=method,
            ),
        }
        with_it = {
            "signature_def_map": signatures,
            "assets_collection": v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            "main_op": v1.tables_initializer(),
        }
        if tag == builders.tag_constants.SERVING:
            builder.add_meta_graph_and_variables(sess, [tag], **with_it)
        else:
            builder.add_meta_graph([tag], **with_it)


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_version", type=int, default=1)
    parser.add_argument("--training_iteration", type=int, default=250)
    parser.add_argument("export_path_base")
    arguments = parser.parse_args()
    export_path = Path(arguments.export_path_base) / str(arguments.model_version)
    if export_path.exists():
        raise SystemExit(f"{export_path} is there already: give a higher --model_version")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(Path(folder) / "model.ckpt")
        print("Training ...")
        right = train(checkpoint, arguments.training_iteration)
        print(f"{right:.1%} of the pixels of new pictures are right")
        asset = Path(folder) / "classes.txt"
        asset.write_text("".join(f"{name}\n" for name in CLASSES))
        builder = builders.Builder(str(export_path))
        add_graph(builder, builders.tag_constants.SERVING, 1, checkpoint, str(asset))
        add_graph(builder, "mobile", 2, checkpoint, str(asset))
        builder.save()
    print("Exported", export_path)


if __name__ == "__main__":
    main()
