"""What the talk causes: channel controls, edited dialogues, influence, role leaks."""
