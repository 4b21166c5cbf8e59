"""Attacks on the sandbox, in a place that mimics a Space and where a success cannot hurt the machine."""
