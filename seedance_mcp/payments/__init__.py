"""Payments: each is made once, within the limits, and followed until its outcome is known."""
