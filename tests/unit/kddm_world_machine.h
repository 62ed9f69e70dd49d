/* SPDX-License-Identifier: GPL-2.0 */
// The parts of the machine that netd runs on, as kddm_world.h plays it, among each other: the event loop, the network,
// the disk. The linker takes their functions before those of libuv, libraft and netd.
#ifndef KDDM_WORLD_MACHINE_H
#define KDDM_WORLD_MACHINE_H

#include <cerrno>
#include <cstring>

#include "kddm_world.h"

extern Process *cur; // whose code is running

// The number in an address, 0 for none.
uint32_t node_of(const char *address);
// For a connection of `cur`, as far as it can know at once.
bool unreachable(uint32_t to);

// libraft's form and ours. What raft_copy() and conf_from() make is libraft's to free.
void *raft_copy(const void *data, size_t len);
std::string conf_bytes(const raft_configuration *c);
void conf_from(const std::string &bytes, raft_configuration *c);

#endif
