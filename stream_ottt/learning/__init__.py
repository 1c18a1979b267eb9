"""The learner, and what it learns when."""
