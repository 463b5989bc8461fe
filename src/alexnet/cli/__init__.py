"""The commands of the command line. Each makes one call of the library and imports torch only when it runs."""
