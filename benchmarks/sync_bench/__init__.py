"""Compares the sync agent's transfer with s5cmd and with KServe's storage initializer, side by side on one machine."""
