// SPDX-License-Identifier: GPL-2.0
// The vectors of tests/unit/vectors/*.txt: tables, frames, expected decisions.
// The format is described at the top of vectors/ipv4.txt.
#ifndef STEER_VECTORS_H
#define STEER_VECTORS_H

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ssi/dip_steer.h>

#include "userland/lib/dip_tables.h"

namespace steer {

using Bytes = std::vector<uint8_t>;

// Tables in plain memory, as large as the maps.
struct World {
	explicit World(unsigned flow_bits = 4);
	struct dip_tables view() const;
	dip_mem mem{};

      private:
	std::vector<uint64_t> conf_, ports_;
	std::vector<dip_bucket> flows_;
};

struct Step {
	std::string text;
	int line = 0;
	dip_dir dir = DIP_IN;
	bool released = false; // carries the mark of the hold queue
	Bytes frame;
	int verdict = 0, reason = 0, node = -1; // -1: not said
};

struct Vector {
	std::string file, name;
	int line = 0;
	std::vector<std::string> tables;
	std::vector<Step> steps;
	bool lease = true;
};

// All vectors; throws std::runtime_error("file:line: why").
std::vector<Vector> load_all();

// Bring tables (initialised, self 2) into the state a vector wants; the lease
// is for the caller, who knows the clock.
void setup(dip_mem *m, const Vector &v);

Bytes build_frame(const std::string &spec);

const char *verdict_name(int v);
const char *reason_name(int r);
int reason_by_name(const std::string &s);
// Said by the BPF adapters, never by dip_steer() itself.
bool adapter_reason(int r);

// The user-space adapter: parse, remember first fragments, decide.
struct Adapter {
	dip_result decide(const struct dip_tables &t, dip_dir dir, const uint8_t *frame, size_t len,
			  uint64_t now, dip_flow *out = nullptr);

      private:
	std::map<std::string, dip_result> frags_;
};

} // namespace steer

#endif
