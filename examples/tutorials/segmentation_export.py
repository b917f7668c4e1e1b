"""Export a segmentation model with SavedModelBuilder: image, height and width in, a mask out.

    python -m tutorials.segmentation_export DIRECTORY/1

Instead of a trained network a threshold tells the object from its background, resized to the size
that the request asks for: the way in and out is that of a real one.
"""

import argparse
import shutil

import tensorflow as tf

v1 = tf.compat.v1
SIZE = 513


def export(directory: str) -> None:
    """Write the version directory; replaces what is there."""
    shutil.rmtree(directory, ignore_errors=True)
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.uint8, [None, None, None, 3], name="image")
        height = v1.placeholder(tf.int32, [], name="height")
        width = v1.placeholder(tf.int32, [], name="width")
        threshold = v1.get_variable("threshold", initializer=0.5)
        scaled = tf.image.resize(tf.cast(image, tf.float32) / 255.0, [SIZE, SIZE])
        likely = tf.reduce_mean(scaled, axis=3, keepdims=True)
        mask = tf.image.resize(likely, [height, width]) > threshold
        segmentation_map = tf.cast(mask, tf.uint8, name="segmentation_map")
        session.run(v1.global_variables_initializer())
        tensors = v1.saved_model.utils.build_tensor_info
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            inputs={"image": tensors(image), "height": tensors(height), "width": tensors(width)},
            outputs={"segmentation_map": tensors(segmentation_map)},
            method_name=v1.saved_model.signature_constants.PREDICT_METHOD_NAME,
        )
        builder = v1.saved_model.builder.SavedModelBuilder(directory)
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.tag_constants.SERVING],
            signature_def_map={"predict_images": signature},
        )
        builder.save()


def main() -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", help="the version directory")
    arguments = parser.parse_args()
    export(arguments.directory)
    print("Exported", arguments.directory)


if __name__ == "__main__":
    main()
