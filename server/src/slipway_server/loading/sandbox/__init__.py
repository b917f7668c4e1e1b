"""Loading a version in a child process first, so that a crash takes nothing else down."""
