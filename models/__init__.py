"""What is known about humans, and nets that look and listen."""
