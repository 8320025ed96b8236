/* libcudart.so.13: devices, kernels and errors; memory.c and streams.c have the rest of it. Kernels are
 * accepted, counted and not run. All that is asynchronous is over at once, so that nothing ever
 * waits; what would wait is counted. */
#include "runtime.h"

/* ---- devices */

static __thread int current_device;

Result cudaGetDeviceCount(int *count)
{
    *count = hollow_devices();
    return *count ? cudaSuccess : cudaErrorNoDevice;
}

Result cudaGetDevice(int *device) { *device = current_device; return cudaSuccess; }

Result cudaSetDevice(int device)
{
    if (device < 0 || device >= hollow_devices())
        return cudaErrorInvalidDevice;
    current_device = device;
    return cudaSuccess;
}

Result cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    (void)device;
    *value = hollow_attribute((int)attribute);
    return cudaSuccess;
}

Result cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", HOLLOW_NAME);
    p->uuid.bytes[0] = (char)(device + 1);
    p->major = HOLLOW_CAPABILITY_MAJOR;
    p->minor = HOLLOW_CAPABILITY_MINOR;
    p->totalGlobalMem = HOLLOW_TOTAL_BYTES;
    p->multiProcessorCount = hollow_attribute(cudaDevAttrMultiProcessorCount);
    p->warpSize = hollow_attribute(cudaDevAttrWarpSize);
    p->maxThreadsPerBlock = hollow_attribute(cudaDevAttrMaxThreadsPerBlock);
    p->maxThreadsPerMultiProcessor = hollow_attribute(cudaDevAttrMaxThreadsPerMultiProcessor);
    p->maxBlocksPerMultiProcessor = hollow_attribute(cudaDevAttrMaxBlocksPerMultiprocessor);
    for (int axis = 0; axis < 3; axis++) {
        p->maxThreadsDim[axis] = hollow_attribute(cudaDevAttrMaxBlockDimX + axis);
        p->maxGridSize[axis] = hollow_attribute(cudaDevAttrMaxGridDimX + axis);
    }
    p->sharedMemPerBlock = (size_t)hollow_attribute(cudaDevAttrMaxSharedMemoryPerBlock);
    p->sharedMemPerBlockOptin = (size_t)hollow_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    p->sharedMemPerMultiprocessor =
        (size_t)hollow_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    p->regsPerBlock = hollow_attribute(cudaDevAttrMaxRegistersPerBlock);
    p->regsPerMultiprocessor = hollow_attribute(cudaDevAttrMaxRegistersPerMultiprocessor);
    p->memoryBusWidth = hollow_attribute(cudaDevAttrGlobalMemoryBusWidth);
    p->l2CacheSize = hollow_attribute(cudaDevAttrL2CacheSize);
    p->totalConstMem = 65536;
    p->textureAlignment = 512;
    p->asyncEngineCount = 3;
    p->unifiedAddressing = p->concurrentKernels = p->cooperativeLaunch = p->canMapHostMemory = 1;
    return cudaSuccess;
}

Result cudaDeviceGetPCIBusId(char *id, int length, int device)
{
    snprintf(id, (size_t)length, "0000:%02x:00.0", device + 1);
    return cudaSuccess;
}

Result cudaRuntimeGetVersion(int *version) { *version = HOLLOW_VERSION; return cudaSuccess; }
Result cudaDriverGetVersion(int *version) { *version = HOLLOW_VERSION; return cudaSuccess; }

Result cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    *can = device != peer;
    return cudaSuccess;
}

Result cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

/* ---- what is refused while a graph is recorded, unless the thread has said that it may */

static __thread int is_relaxed;

Result hollow_unless_captured(void)
{
    if (!hollow_is_capturing() || is_relaxed)
        return cudaSuccess;
    hollow_count(HOLLOW_REFUSED);
    return cudaErrorStreamCaptureUnsupported;
}

Result cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode)
{
    int was_relaxed = is_relaxed;
    is_relaxed = *mode == cudaStreamCaptureModeRelaxed;
    *mode = was_relaxed ? cudaStreamCaptureModeRelaxed : cudaStreamCaptureModeGlobal;
    return cudaSuccess;
}

/* ---- kernels: any code is accepted, and none runs */

static char symbols[1 << 16];

void **__cudaRegisterFatBinary(void *code) { (void)code; return hollow_object(); }

unsigned int __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes, void *stream)
{
    (void)grid, (void)block, (void)shared_bytes, (void)stream;
    return 0;
}

Result __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared_bytes, void **stream)
{
    *grid = *block = (dim3){1, 1, 1};
    *shared_bytes = 0;
    *stream = NULL;
    return cudaSuccess;
}

Result __cudaGetKernel(void **kernel, const void *function)
{
    *kernel = (void *)function;
    return cudaSuccess;
}

Result cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *function)
{
    (void)function;
    memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->binaryVersion = attributes->ptxVersion = 90;
    attributes->maxDynamicSharedSizeBytes = 49152;
    return cudaSuccess;
}

Result cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *count, const void *function,
                                                     int block_size, size_t shared_bytes)
{
    (void)function, (void)block_size, (void)shared_bytes;
    *count = 8;
    return cudaSuccess;
}

Result cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, const void *function,
                                                              int block_size, size_t shared_bytes,
                                                              unsigned int flags)
{
    (void)flags;
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(count, function, block_size, shared_bytes);
}

Result cudaGetSymbolAddress(void **address, const void *symbol)
{
    (void)symbol;
    *address = symbols;
    return cudaSuccess;
}

Result cudaMemcpyFromSymbol(void *target, const void *symbol, size_t bytes, size_t offset,
                            enum cudaMemcpyKind kind)
{
    (void)symbol, (void)offset, (void)kind;
    memset(target, 0, bytes);
    return cudaSuccess;
}

Result cudaLibraryLoadData(cudaLibrary_t *library, const void *code, void *options, void **values,
                           unsigned int count, void *library_options, void **library_values,
                           unsigned int library_count)
{
    (void)code, (void)options, (void)values, (void)count, (void)library_options;
    (void)library_values, (void)library_count;
    *library = hollow_object();
    return cudaSuccess;
}

Result cudaLibraryGetKernel(cudaKernel_t *kernel, cudaLibrary_t library, const char *name)
{
    (void)name;
    *kernel = (cudaKernel_t)library;
    return cudaSuccess;
}

/* ---- errors and entry points of the driver */

const char *cudaGetErrorString(Result error)
{
    return error == cudaErrorStreamCaptureUnsupported
               ? "operation not permitted when stream is capturing"
               : error ? "an error of the hollow runtime" : "no error";
}

const char *cudaGetErrorName(Result error) { return error ? "cudaErrorHollow" : "cudaSuccess"; }

Result cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned int version,
                                        unsigned long long flags,
                                        enum cudaDriverEntryPointQueryResult *status)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    (void)version, (void)flags;
    *function = driver ? dlsym(driver, name) : NULL;
    if (status)
        *status = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}
