// SPDX-License-Identifier: GPL-2.0
/*
 * tsc-khz: prints how fast this machine's time stamp counter runs, which an emulated guest reads as its own.
 * Nothing when there is none that runs evenly. The best of several short measurements: between the two
 * readings of one clock nothing may have come in between.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#define TRIES	  64
#define SPAN_NS	  50000000ll
#define INVARIANT "constant_tsc"

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Both clocks at one moment: of many pairs the one that was read fastest. */
static void read_both(long long *ns, unsigned long long *tsc)
{
	unsigned long long best = ~0ull;

	for (int i = 0; i < TRIES; i++) {
		unsigned long long before = __rdtsc();
		long long t = now_ns();
		unsigned long long after = __rdtsc();

		if (after - before >= best)
			continue;
		best = after - before;
		*ns = t;
		*tsc = before + best / 2;
	}
}

static int even(void)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[8192];
	int found = 0;

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "flags", 5) && strstr(line, INVARIANT);
	if (f)
		fclose(f);
	return found;
}

int main(void)
{
	const struct timespec span = {.tv_nsec = SPAN_NS};
	unsigned long long c0 = 0, c1 = 0;
	long long t0 = 0, t1 = 0;

	if (!even())
		return 0;
	read_both(&t0, &c0);
	nanosleep(&span, NULL);
	read_both(&t1, &c1);
	printf("%llu\n", (c1 - c0) * 1000000 / (unsigned long long)(t1 - t0));
	return 0;
}
