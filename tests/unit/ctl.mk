# SPDX-License-Identifier: GPL-2.0
$(call gtest,jsonline_test,tests/unit/jsonline_test.cc,$(O)/asan/ssi.a -ljansson)
$(call gtest,ctl_server_test,tests/unit/ctl_server_test.cc,$(O)/asan/ctl.a $(O)/asan/ssi.a -luv -ljansson)
$(call gtest,ctl_netctl_test,tests/unit/ctl_netctl_test.cc,$(O)/asan/netctl.a $(O)/asan/ssi.a -ljansson)
