"""What the tests share: a scripted server, a client that signs, documented bodies."""
