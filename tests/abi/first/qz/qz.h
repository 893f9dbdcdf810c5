/* qz.h - libqz in one include. Applications include this; each topic header also stands alone. */
#ifndef QZ_H
#define QZ_H
#include "base.h"
#include "calib.h"
#include "context.h"
#include "device.h"
#include "eval.h"
#include "loading.h"
#include "memory.h"
#include "model.h"
#include "packed.h"
#include "quantize.h"
#endif
