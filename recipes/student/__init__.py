"""How the student in assets/loras was made: two runs of FewStep Distill on the tiny base, and what its file says."""
