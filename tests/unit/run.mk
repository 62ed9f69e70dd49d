# SPDX-License-Identifier: GPL-2.0
$(call gtest,run_opts_test,tests/unit/run_opts_test.cc userland/run/opts.c userland/lib/log.c,-ljansson)
$(call gtest,run_stdio_test,tests/unit/run_stdio_test.cc userland/run/stdio.c userland/run/loop.c userland/run/logfile.c userland/lib/log.c userland/lib/jsonline.c,-ljansson)
$(call gtest,run_images_test,tests/unit/run_images_test.cc ckpt/images.c ckpt/rounds.c ckpt/data.c ckpt/crc32c.c ckpt/criu_rpc.c,-ljansson)
$(call gtest,move_enough_test,tests/unit/move_enough_test.cc userland/netd/move_enough.c,)
