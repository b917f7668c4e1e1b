"""The kubectl plugin: its commands and their options."""
