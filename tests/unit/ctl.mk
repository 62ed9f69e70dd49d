# SPDX-License-Identifier: GPL-2.0
$(call gtest,jsonline_test,tests/unit/jsonline_test.cc,$(O)/asan/ssi.a -ljansson)
