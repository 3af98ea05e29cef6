"""What a wrong answer costs, one file a host."""
