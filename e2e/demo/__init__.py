"""`make demo`: the main job on a real cluster, step by step, told as it goes."""
