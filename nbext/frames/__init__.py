"""Orders in, one DataFrame out, and how it looks. No I/O."""
