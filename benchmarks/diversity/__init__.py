"""How much the seeds of a caption differ, and what each way to more variety costs."""
