"""The project and its revisions: which are to be applied or taken back. Never changes the database."""
