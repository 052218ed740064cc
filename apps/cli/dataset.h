/* Files of JSON that name photos: where those photos are. */
#ifndef LOOKSAY_CLI_DATASET_H
#define LOOKSAY_CLI_DATASET_H

/* DIR/image, or, when dir is NULL, image in the folder of `file`; an absolute image stays. malloc'ed; NULL: out of memory. */
char *dataset_photo_path(const char *dir, const char *file, const char *image);

#endif
