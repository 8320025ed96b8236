/* What the parts of libcudart.so.13 share. */
#ifndef HOLLOW_RUNTIME_H
#define HOLLOW_RUNTIME_H

#define _GNU_SOURCE
#include "common.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <driver_types.h>

typedef cudaError_t Result;

Result cudaGetDevice(int *device);
Result hollow_unless_captured(void); /* an error while a graph is recorded, see runtime.c */

#endif
