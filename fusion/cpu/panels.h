/* Packed weights of the vector kernels: panels of 64 output columns, [ceil(d_out / 64)][d_in][64], the last one filled up
 * with zeros. All instruction sets share the layout. */
#ifndef LKS_CPU_PANELS_H
#define LKS_CPU_PANELS_H

#include <stddef.h>

#define LKS_PANEL 64

size_t lks_panels_count(int d_in, int d_out);
void lks_panels_pack(float *packed, const float *w, int d_in, int d_out, int column_begin, int column_end);

#endif
