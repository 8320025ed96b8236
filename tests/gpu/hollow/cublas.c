/* libcublas.so.13: handles and modes; products are counted and not computed. */
#include "common.h"

int cublasCreate_v2(void **handle) { *handle = hollow_object(); return 0; }
int cublasGetVersion_v2(void *handle, int *version) { (void)handle; *version = 130400; return 0; }
int cublasGetMathMode(void *handle, int *mode) { (void)handle; *mode = 0; return 0; }
int cublasGetPointerMode_v2(void *handle, int *mode) { (void)handle; *mode = 0; return 0; }
int cublasGetStream_v2(void *handle, void **stream) { (void)handle; *stream = NULL; return 0; }
int cublasGetProperty(int part, int *value) { *value = part == 0 ? 13 : part == 1 ? 4 : 0; return 0; }
const char *cublasGetStatusString(int status) { return status ? "hollow" : "success"; }
const char *cublasGetStatusName(int status) { return cublasGetStatusString(status); }
