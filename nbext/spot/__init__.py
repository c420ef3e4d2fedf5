"""The thin signing core: stamp, encode, sign, send once, and what an answer proves."""
