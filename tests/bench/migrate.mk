# SPDX-License-Identifier: GPL-2.0
# What a client waits while its server moves, against CRIU alone.
BENCH_SUITES += migrate
