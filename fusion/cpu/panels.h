/* Packed weights of the vector kernels: panels of 64 output columns, the last one filled up with zeros; a panel is one or more
 * strips as wide as the register tile of the instruction set, each [d_in][strip], so that the tile reads one piece of
 * memory. */
#ifndef LKS_CPU_PANELS_H
#define LKS_CPU_PANELS_H

#include <stddef.h>

#define LKS_PANEL 64

size_t lks_panels_count(int d_in, int d_out);
/* w [column_end - column_begin, d_in]; column_begin is a multiple of LKS_PANEL, `strip` divides it. */
void lks_panels_pack(float *packed, const float *w, int d_in, int column_begin, int column_end, int strip);
/* row [d_in] = column o as it was. */
void lks_panels_unpack(float *row, const float *packed, int d_in, int o, int strip);

#endif
