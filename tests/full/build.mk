# SPDX-License-Identifier: GPL-2.0
# What takes hours: seeded, and resumed where it was interrupted.
FULL_TESTS += tests/full/simulation.sh
