"""Do the error rates hold? Proof by calibrations that are drawn anew, each time with new phantoms."""
