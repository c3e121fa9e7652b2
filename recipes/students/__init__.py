"""How the few-step students of the tiny base were made: a table of stages, each a run of FewStep Distill."""
