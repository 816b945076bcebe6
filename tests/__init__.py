"""One folder a room of the package; `support` is what they share."""
