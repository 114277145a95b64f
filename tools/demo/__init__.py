"""The demonstration: the whole road from a data set to an answer, in one command."""
