"""Terms of distillation, one file each: comparisons of a student with its teachers."""
