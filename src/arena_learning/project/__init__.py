"""Setting a project up: profiles and checks of the machine."""
