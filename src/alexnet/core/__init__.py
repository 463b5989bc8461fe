"""What every other package stands on: errors, files, devices, random numbers, launchers, signals and processes."""
