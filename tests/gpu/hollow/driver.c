/* libcuda.so.1: Triton's launcher loads its kernels here, ONNX Runtime and torch ask for facts.
 * Modules load and hold every function; nothing that is launched runs. Memory, streams and events
 * are the runtime's. */
#define _GNU_SOURCE
#include "common.h"

#include <cuda.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int the_context[1];
static __thread CUdevice current_device;

CUresult cuDriverGetVersion(int *version) { *version = HOLLOW_VERSION; return CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { *count = hollow_devices(); return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return CUDA_SUCCESS; }

CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
    (void)device;
    snprintf(name, (size_t)length, "%s", HOLLOW_NAME);
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device)
{
    (void)device;
    *bytes = HOLLOW_TOTAL_BYTES;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    (void)device;
    *value = hollow_attribute((int)attribute);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    memset(uuid->bytes, device + 1, sizeof uuid->bytes);
    return CUDA_SUCCESS;
}

static CUresult give_context(CUcontext *context)
{
    *context = (CUcontext)the_context;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) { return give_context(context); }
CUresult cuCtxGetDevice(CUdevice *device) { *device = current_device; return CUDA_SUCCESS; }
CUresult cuStreamGetCtx(CUstream stream, CUcontext *context)
{
    (void)stream;
    return give_context(context);
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    (void)device;
    return give_context(context);
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *is_active)
{
    (void)device;
    *flags = 0;
    *is_active = 1;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) { (void)limit; *value = 1024; return CUDA_SUCCESS; }

static CUresult give_module(CUmodule *module)
{
    *module = hollow_object();
    return CUDA_SUCCESS;
}

CUresult cuModuleLoad(CUmodule *module, const char *file) { (void)file; return give_module(module); }
CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    (void)image;
    return give_module(module);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int count,
                            CUjit_option *options, void **values)
{
    (void)image, (void)count, (void)options, (void)values;
    return give_module(module);
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    (void)module, (void)name;
    *function = hollow_object();
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
    (void)function;
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
             : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 32
                                                                  : 0;
    return CUDA_SUCCESS;
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel,
                              CUdevice device)
{
    (void)kernel, (void)device;
    return cuFuncGetAttribute(value, attribute, NULL);
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                        unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                        unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                        void **parameters, void **extra)
{
    (void)function, (void)grid_x, (void)grid_y, (void)grid_z, (void)block_x, (void)block_y;
    (void)block_z, (void)shared_bytes, (void)stream, (void)parameters, (void)extra;
    hollow_launch();
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters,
                          void **extra)
{
    (void)config, (void)function, (void)parameters, (void)extra;
    hollow_launch();
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, CUfunction function,
                                                     int block_size, size_t shared_bytes)
{
    (void)function, (void)block_size, (void)shared_bytes;
    *count = 8;
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveClusters(int *count, CUfunction function,
                                      const CUlaunchConfig *config)
{
    (void)function, (void)config;
    *count = 8;
    return CUDA_SUCCESS;
}

/* Triton asks which address of the device a pointer has: its own. */
CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr pointer)
{
    if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
        *(unsigned int *)value = CU_MEMORYTYPE_DEVICE;
    else
        *(CUdeviceptr *)value = pointer;
    return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer)
{
    *base = pointer;
    *bytes = 1;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
    *text = error ? "an error of the hollow driver" : "no error";
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **name)
{
    *name = error ? "CUDA_ERROR_HOLLOW" : "CUDA_SUCCESS";
    return CUDA_SUCCESS;
}

/* A name means its newest version, which may be called NAME_v2 here. */
CUresult cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags,
                          CUdriverProcAddressQueryResult *status)
{
    char newer[128];
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    (void)version, (void)flags;
    snprintf(newer, sizeof newer, "%s_v2", name);
    *function = dlsym(driver, newer);
    if (!*function)
        *function = dlsym(driver, name);
    if (status)
        *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return CUDA_SUCCESS;
}
