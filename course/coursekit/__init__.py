"""What the notebooks of the course share: texts in two languages, questions, pictures, and the run of the demo."""
