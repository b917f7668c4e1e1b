"""TensorFlow's library, messages and errors, without the rest of its Python package.

`lean_import` says how they are imported, `names` what they are. All of TensorFlow's names that are not public are in
`names`, but for those that `servables.tensorflow.native` needs to reach the C API.
"""
