/* libcublasLt.so.13: descriptors, and one algorithm for every product. */
#include "common.h"

#include <string.h>

enum { RESULT_BYTES = 128 };

static int give(void **object) { *object = hollow_object(); return 0; }
static int clear(void *object, size_t bytes) { memset(object, 0, bytes); return 0; }

int cublasLtCreate(void **handle) { return give(handle); }
int cublasLtMatmulDescCreate(void **descriptor) { return give(descriptor); }
int cublasLtMatrixLayoutCreate(void **layout) { return give(layout); }
int cublasLtMatmulPreferenceCreate(void **preference) { return give(preference); }
int cublasLtMatmulDescInit_internal(void *object, size_t bytes) { return clear(object, bytes); }
int cublasLtMatrixLayoutInit_internal(void *object, size_t bytes) { return clear(object, bytes); }
int cublasLtMatmulPreferenceInit_internal(void *object, size_t bytes) { return clear(object, bytes); }

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d,
                                   void *preference, int most, char *results, int *count)
{
    (void)handle, (void)operation, (void)a, (void)b, (void)c, (void)d, (void)preference;
    if (results)
        memset(results, 0, RESULT_BYTES * (size_t)most);
    *count = most > 0;
    return 0;
}

size_t cublasLtGetVersion(void) { return 130400; }
size_t cublasLtGetCudartVersion(void) { return HOLLOW_VERSION; }
const char *cublasLtGetStatusString(int status) { return status ? "hollow" : "success"; }
const char *cublasLtGetStatusName(int status) { return cublasLtGetStatusString(status); }
