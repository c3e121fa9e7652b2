"""A blind A/B page: a student's and its teacher's picture of one caption and noise, in random order."""
