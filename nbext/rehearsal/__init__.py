"""``python -m nbext rehearse``: play everything that nbext promises against a practice exchange, and compare."""
