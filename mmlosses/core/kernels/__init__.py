"""Fast paths, each beside the plain reference formula."""
