"""What may be answered: the input contract and, later, scores and decisions."""
