# SPDX-License-Identifier: GPL-2.0
$(call gtest,linear_test,tests/unit/linear_test.cc tests/linear/linear.c,)
