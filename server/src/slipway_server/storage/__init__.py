"""Where models lie: the file system under the base paths."""
