# SPDX-License-Identifier: GPL-2.0
# The steering decision: in plain memory without root, and the loaded programs as root.

$(call gtest,steer_test,tests/unit/steer_test.cc tests/unit/steer_vectors.cc,$(O)/asan/ssi.a)
$(call gtest,steer_tables_test,tests/unit/steer_tables_test.cc tests/unit/steer_vectors.cc,$(O)/asan/ssi.a)
