"""The programs that vlm is measured against, each behind the same two functions: open(...) and one batch."""
