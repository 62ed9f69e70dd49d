// SPDX-License-Identifier: GPL-2.0
/* kddm_node as a program of its own, for trying things by hand. */
#include "kddm_node.h"

int main(int argc, char **argv)
{
	return kddm_node_main(argc, argv);
}
