/* libcudnn.so.9: descriptors, no workspace, and one engine for every graph of operations. */
#include "common.h"

#include <stdint.h>
#include <string.h>

enum { TYPE_DESCRIPTOR = 15 /* CUDNN_TYPE_BACKEND_DESCRIPTOR */ };

size_t cudnnGetVersion(void) { return 92600; }
size_t cudnnGetCudartVersion(void) { return HOLLOW_VERSION; }
size_t cudnnGetMaxDeviceVersion(void) { return 1210; }
int cudnnGetProperty(int part, int *value) { *value = part == 0 ? 9 : part == 1 ? 26 : 0; return 0; }
const char *cudnnGetErrorString(int status) { return status ? "hollow" : "success"; }
void cudnnGetLastErrorString(char *text, size_t size) { if (size) text[0] = 0; }
int cudnnGetStream(void *handle, void **stream) { (void)handle; *stream = NULL; return 0; }

#define CREATES(name) int name(void **object) { *object = hollow_object(); return 0; }
CREATES(cudnnCreate)
CREATES(cudnnCreateActivationDescriptor)
CREATES(cudnnCreateAttnDescriptor)
CREATES(cudnnCreateConvolutionDescriptor)
CREATES(cudnnCreateCTCLossDescriptor)
CREATES(cudnnCreateDropoutDescriptor)
CREATES(cudnnCreateFilterDescriptor)
CREATES(cudnnCreateLRNDescriptor)
CREATES(cudnnCreateOpTensorDescriptor)
CREATES(cudnnCreatePoolingDescriptor)
CREATES(cudnnCreateReduceTensorDescriptor)
CREATES(cudnnCreateRNNDataDescriptor)
CREATES(cudnnCreateRNNDescriptor)
CREATES(cudnnCreateSeqDataDescriptor)
CREATES(cudnnCreateSpatialTransformerDescriptor)
CREATES(cudnnCreateTensorDescriptor)

int cudnnBackendCreateDescriptor(int type, void **object)
{
    (void)type;
    *object = hollow_object();
    return 0;
}

/* Numbers are 0; of objects there is one, which is the caller's own. */
int cudnnBackendGetAttribute(void *object, int name, int type, int64_t wanted, int64_t *count,
                             void *values)
{
    (void)object, (void)name;
    if (count)
        *count = 1;
    if (values && wanted > 0 && type != TYPE_DESCRIPTOR)
        memset(values, 0, sizeof(int64_t));
    return 0;
}

int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void *handle, int mode, int operation,
                                                             void *x, void *z, void *y, void *scale,
                                                             void *activation, size_t *bytes)
{
    (void)handle, (void)mode, (void)operation, (void)x, (void)z, (void)y, (void)scale;
    (void)activation;
    *bytes = 0;
    return 0;
}

int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void *handle, int mode, int operation, void *x,
                                                      void *y, void *dy, void *dz, void *dx,
                                                      void *scale, void *activation, size_t *bytes)
{
    (void)handle, (void)mode, (void)operation, (void)x, (void)y, (void)dy, (void)dz, (void)dx;
    (void)scale, (void)activation;
    *bytes = 0;
    return 0;
}

int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *handle, int mode, int operation,
                                                         void *activation, void *x, size_t *bytes)
{
    (void)handle, (void)mode, (void)operation, (void)activation, (void)x;
    *bytes = 0;
    return 0;
}
