"""Telling other systems over HTTP: where it may go, how it is signed, when it is tried again."""
