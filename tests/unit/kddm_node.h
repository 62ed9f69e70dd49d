/* SPDX-License-Identifier: GPL-2.0 */
/* A node of membership and sets only, driven by lines; see kddm_node.c. */
#ifndef SSI_TEST_KDDM_NODE_H
#define SSI_TEST_KDDM_NODE_H

int kddm_node_main(int argc, char **argv);

#endif
