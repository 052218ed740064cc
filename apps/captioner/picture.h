/* Is it a photo at all? Private to the captioner. */
#ifndef LKS_PICTURE_H
#define LKS_PICTURE_H

#include "apps/captioner/looksay.h"
#include "vision/image.h"

/* damaged: parts of the picture may be missing, and are then of one colour. */
lks_picture_kind lks_picture_judge(const lks_image *image, bool damaged);

#endif
