"""How a version is loaded: a chain of decorators around the loader of its format."""
