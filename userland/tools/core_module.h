/* SPDX-License-Identifier: GPL-2.0 */
/* Would this kernel run the module ssi_core? Found out without loading it: that marks a kernel until its next boot. */
#ifndef SSI_CORE_MODULE_H
#define SSI_CORE_MODULE_H

#include <stdbool.h>

struct core_module {
	bool queue;  /* packets of a move wait in it */
	bool claims; /* programs wait in listen() and bind() for it */
	char text[256];
	char remedy[256]; /* "" when both are so */
};

void core_module_look(struct core_module *m);

#endif
