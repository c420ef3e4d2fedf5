"""From a request to its reply: admission, parsing, handlers."""
