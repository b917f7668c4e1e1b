"""From named tensors to named tensors: checks a request against a signature and runs it. No protocol."""
