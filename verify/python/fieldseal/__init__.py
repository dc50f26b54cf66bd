"""The parts of the second verifier; each names the section of evidence/FORMAT.md it was written from."""
