"""Requests, answers and services."""
