"""The server on loopback, and the control endpoint for a second process."""
