/* Position tables for images of another size than the encoder was trained on. */
#ifndef LKS_POSITIONS_H
#define LKS_POSITIONS_H

/* out [rows, columns, d] = table [table_rows, table_columns, d] resized by bicubic convolution (Keys 1981, a = -0.75), without
 * antialiasing, half-pixel centres, edges repeated: torch's interpolate(mode="bicubic", align_corners=False). */
void lks_positions_interpolate(float *out, int rows, int columns, const float *table, int table_rows, int table_columns,
                               int d);

#endif
