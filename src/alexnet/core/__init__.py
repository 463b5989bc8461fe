"""The base of every other package: errors, files, devices, random numbers, launchers, signals and processes."""
