"""Fast paths, each beside the plain formula that it must equal."""
