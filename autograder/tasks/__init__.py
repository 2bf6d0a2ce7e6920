"""What each exercise asks for: inputs, comparison, misconceptions. One module per assignment."""
