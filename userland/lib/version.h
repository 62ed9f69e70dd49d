/* SPDX-License-Identifier: GPL-2.0 */
/* The version of all programs of a build, and of what netctl and netd say to each other. */
#ifndef SSI_VERSION_H
#define SSI_VERSION_H

#define SSI_VERSION	 "0.1.0"
#define SSI_CTL_PROTOCOL 1 /* raised when old netctl would misunderstand new netd */

#endif
