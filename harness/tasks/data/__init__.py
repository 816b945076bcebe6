"""A data file or data set to rows of plain values, with the digest of what was read. Data are never code or a path."""
