"""What a release consists of, made from the commit of its tag: `make release`."""
