"""Train a model of irises and export it the way an Estimator does, or with Keras: a folder for each time.

python -m estimator_export.export --receiver=parsing --rounds=6 /tmp/iris/examples
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import tensorflow as tf

from estimator_export import keras_export
from estimator_export.model import export_outputs, model_fn, train
from estimator_export.receivers import RECEIVERS

v1 = tf.compat.v1


def export_savedmodel(export_dir_base: Path, receiver: str, checkpoint: str) -> Path:
    """Build a new graph from the receiver and the model, restore the checkpoint into it, and write it."""
    with tf.Graph().as_default(), v1.Session() as session:
        features, receiver_tensors = RECEIVERS[receiver]()
        logits, width = model_fn(features)
        v1.train.Saver().restore(session, checkpoint)
        target = timestamped(export_dir_base)
        draft = export_dir_base / f"temp-{target.name}"
        builder = v1.saved_model.builder.SavedModelBuilder(str(draft))
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.tag_constants.SERVING],
            signature_def_map=export_outputs(receiver_tensors, logits, width),
        )
        builder.save()
        return draft.rename(target)


def timestamped(export_dir_base: Path) -> Path:
    """Return a folder named by the time in seconds; two exports in one second get two names."""
    while (target := export_dir_base / str(int(time.time()))).exists():
        time.sleep(0.1)
    return target


def keep_newest(export_dir_base: Path, count: int) -> None:
    """Delete all but so many exports."""
    exports = sorted(int(path.name) for path in export_dir_base.iterdir() if path.name.isdigit())
    for old in exports[:-count]:
        shutil.rmtree(export_dir_base / str(old))


def main() -> None:
    """Train in rounds, and export after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--receiver", choices=tuple(RECEIVERS), default="parsing")
    parser.add_argument("--keras", action="store_true", help="with Keras and ExportArchive")
    parser.add_argument("--rounds", type=int, default=1, help="of training, each with an export")
    parser.add_argument("--exports_to_keep", type=int, default=5, help="the newest (default 5)")
    parser.add_argument("export_dir_base", type=Path)
    arguments = parser.parse_args()
    if arguments.exports_to_keep < 1:
        parser.error("--exports_to_keep must be 1 or more")
    base = arguments.export_dir_base
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as model_dir:
        for _ in range(arguments.rounds):
            if arguments.keras:
                wrong = keras_export.train_and_export(target := timestamped(base))
            else:
                wrong = train(Path(model_dir))
                checkpoint = tf.train.latest_checkpoint(model_dir)
                target = export_savedmodel(base, arguments.receiver, checkpoint)
            print(f"{wrong:.1%} of the irises wrong, exported {target}")
            keep_newest(base, arguments.exports_to_keep)


if __name__ == "__main__":
    main()
