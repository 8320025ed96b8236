/* libcudart.so.13. What behaves: devices, memory (the host's, and where it counts as which), copies
 * and fills, streams that know whether they are captured, events with times, host functions.
 * What does nothing: kernels, and CUDA graphs when they are launched. All that is asynchronous is
 * over at once, so that nothing ever waits; what would wait is counted. */
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

static Result unless_captured(void)
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

/* ---- memory */

enum { MOST_RANGES = 1 << 16, ALIGNMENT = 512 };
static struct range { char *begin; size_t bytes; enum cudaMemoryType type; int device; } ranges[MOST_RANGES];
static int range_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Result allocate(void **pointer, size_t bytes, enum cudaMemoryType type)
{
    size_t rounded = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    int slot = 0;
    char *begin = aligned_alloc(ALIGNMENT, rounded);
    if (!begin)
        return cudaErrorMemoryAllocation;
    memset(begin, 0, rounded);
    pthread_mutex_lock(&lock);
    while (slot < range_count && ranges[slot].begin)
        slot++;
    if (slot == MOST_RANGES)
        abort();
    if (slot == range_count)
        range_count++;
    ranges[slot] = (struct range){begin, rounded, type, current_device};
    pthread_mutex_unlock(&lock);
    *pointer = begin;
    return cudaSuccess;
}

static struct range range_of(const void *pointer)
{
    struct range containing = {.type = cudaMemoryTypeUnregistered, .device = -1};
    pthread_mutex_lock(&lock);
    for (int i = 0; i < range_count; i++)
        if (ranges[i].begin && (const char *)pointer >= ranges[i].begin &&
            (const char *)pointer < ranges[i].begin + ranges[i].bytes)
            containing = ranges[i];
    pthread_mutex_unlock(&lock);
    return containing;
}

Result cudaFree(void *pointer)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; pointer && i < range_count; i++)
        if (ranges[i].begin == pointer)
            ranges[i].begin = NULL;
    pthread_mutex_unlock(&lock);
    free(pointer);
    return cudaSuccess;
}

Result cudaMalloc(void **pointer, size_t bytes)
{
    Result refused = unless_captured();
    return refused ? refused : allocate(pointer, bytes, cudaMemoryTypeDevice);
}

Result cudaMallocManaged(void **pointer, size_t bytes, unsigned int flags)
{
    (void)flags;
    return cudaMalloc(pointer, bytes);
}

Result cudaMallocAsync(void **pointer, size_t bytes, cudaStream_t stream)
{
    (void)stream;
    return allocate(pointer, bytes, cudaMemoryTypeDevice);
}

Result cudaMallocFromPoolAsync(void **pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t stream)
{
    (void)pool;
    return cudaMallocAsync(pointer, bytes, stream);
}

Result cudaFreeAsync(void *pointer, cudaStream_t stream) { (void)stream; return cudaFree(pointer); }

Result cudaHostAlloc(void **pointer, size_t bytes, unsigned int flags)
{
    Result refused = unless_captured();
    (void)flags;
    return refused ? refused : allocate(pointer, bytes, cudaMemoryTypeHost);
}

Result cudaMallocHost(void **pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, 0); }
Result cudaFreeHost(void *pointer) { return cudaFree(pointer); }

Result cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = HOLLOW_FREE_BYTES;
    *total_bytes = HOLLOW_TOTAL_BYTES;
    return cudaSuccess;
}

Result cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer)
{
    struct range containing = range_of(pointer);
    memset(attributes, 0, sizeof *attributes);
    attributes->type = containing.type;
    attributes->device = containing.device;
    if (containing.type != cudaMemoryTypeUnregistered)
        attributes->devicePointer = (void *)pointer;
    if (containing.type == cudaMemoryTypeHost)
        attributes->hostPointer = (void *)pointer;
    return cudaSuccess;
}

Result cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device)
{
    (void)device;
    *pool = hollow_object();
    return cudaSuccess;
}

Result cudaMemPoolCreate(cudaMemPool_t *pool, const struct cudaMemPoolProps *properties)
{
    (void)properties;
    return cudaDeviceGetDefaultMemPool(pool, 0);
}

Result cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    (void)pool, (void)attribute;
    *(uint64_t *)value = 0;
    return cudaSuccess;
}

Result cudaDeviceGetGraphMemAttribute(int device, enum cudaGraphMemAttributeType type, void *value)
{
    (void)device, (void)type;
    *(uint64_t *)value = 0;
    return cudaSuccess;
}

/* ---- copies */

static void count_copy(const void *target, const void *source)
{
    int is_pageable = range_of(target).type == cudaMemoryTypeUnregistered ||
                      range_of(source).type == cudaMemoryTypeUnregistered;
    hollow_count(is_pageable ? HOLLOW_PAGEABLE_COPY : HOLLOW_COPY);
}

Result cudaMemcpyAsync(void *target, const void *source, size_t bytes, enum cudaMemcpyKind kind,
                       cudaStream_t stream)
{
    (void)kind, (void)stream;
    count_copy(target, source);
    memmove(target, source, bytes);
    return cudaSuccess;
}

Result cudaMemcpy(void *target, const void *source, size_t bytes, enum cudaMemcpyKind kind)
{
    Result refused = unless_captured();
    hollow_count(HOLLOW_SYNCHRONISATION);
    return refused ? refused : cudaMemcpyAsync(target, source, bytes, kind, NULL);
}

Result cudaMemcpyPeerAsync(void *target, int target_device, const void *source, int source_device,
                           size_t bytes, cudaStream_t stream)
{
    (void)target_device, (void)source_device;
    return cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream);
}

Result cudaMemcpy2DAsync(void *target, size_t target_pitch, const void *source, size_t source_pitch,
                         size_t width, size_t height, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    (void)kind, (void)stream;
    count_copy(target, source);
    for (size_t row = 0; row < height; row++)
        memmove((char *)target + row * target_pitch, (const char *)source + row * source_pitch,
                width);
    return cudaSuccess;
}

Result cudaMemsetAsync(void *target, int value, size_t bytes, cudaStream_t stream)
{
    (void)stream;
    hollow_launch();
    memset(target, value, bytes);
    return cudaSuccess;
}

Result cudaMemset(void *target, int value, size_t bytes)
{
    return cudaMemsetAsync(target, value, bytes, NULL);
}

/* ---- streams, their capture, and graphs */

struct stream { int is_capturing; unsigned long long capture; };
static struct stream default_stream;
static unsigned long long last_capture;

static struct stream *stream_of(cudaStream_t stream)
{
    /* NULL and two small numbers stand for the default streams. */
    return (uintptr_t)stream <= 2 ? &default_stream : (struct stream *)stream;
}

Result cudaStreamCreate(cudaStream_t *stream)
{
    *stream = hollow_object();
    return cudaSuccess;
}

Result cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags)
{
    (void)flags;
    return cudaStreamCreate(stream);
}

Result cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned int flags, int priority)
{
    (void)flags, (void)priority;
    return cudaStreamCreate(stream);
}

Result cudaStreamGetPriority(cudaStream_t stream, int *priority)
{
    (void)stream;
    *priority = 0;
    return cudaSuccess;
}

Result cudaStreamSynchronize(cudaStream_t stream)
{
    hollow_count(HOLLOW_SYNCHRONISATION);
    if (!stream_of(stream)->is_capturing)
        return cudaSuccess;
    hollow_count(HOLLOW_REFUSED);
    return cudaErrorStreamCaptureUnsupported;
}

Result cudaDeviceSynchronize(void)
{
    hollow_count(HOLLOW_SYNCHRONISATION);
    return unless_captured();
}

Result cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    *status = stream_of(stream)->is_capturing ? cudaStreamCaptureStatusActive
                                              : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

Result cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status,
                                unsigned long long *id, cudaGraph_t *graph,
                                const cudaGraphNode_t **dependencies,
                                const cudaGraphEdgeData **edges, size_t *count)
{
    cudaStreamIsCapturing(stream, status);
    if (id)
        *id = stream_of(stream)->capture;
    if (graph)
        *graph = (cudaGraph_t)stream_of(stream);
    if (dependencies)
        *dependencies = NULL;
    if (edges)
        *edges = NULL;
    if (count)
        *count = 0;
    return cudaSuccess;
}

Result cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    stream_of(stream)->is_capturing = 1;
    stream_of(stream)->capture = ++last_capture;
    hollow_capture(1);
    return cudaSuccess;
}

Result cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph,
                                     const cudaGraphNode_t *dependencies,
                                     const cudaGraphEdgeData *edges, size_t count,
                                     enum cudaStreamCaptureMode mode)
{
    (void)graph, (void)dependencies, (void)edges, (void)count;
    return cudaStreamBeginCapture(stream, mode);
}

Result cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    stream_of(stream)->is_capturing = 0;
    hollow_capture(0);
    *graph = hollow_object();
    return cudaSuccess;
}

Result cudaGraphInstantiate(cudaGraphExec_t *ready, cudaGraph_t graph, unsigned long long flags)
{
    (void)graph, (void)flags;
    *ready = hollow_object();
    return cudaSuccess;
}

Result cudaGraphInstantiateWithFlags(cudaGraphExec_t *ready, cudaGraph_t graph,
                                     unsigned long long flags)
{
    return cudaGraphInstantiate(ready, graph, flags);
}

/* torch warns of a graph without nodes. */
Result cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    if (nodes)
        nodes[0] = (cudaGraphNode_t)graph;
    *count = 1;
    return cudaSuccess;
}

Result cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t *dependencies,
                                    cudaGraphEdgeData *edges, size_t *count)
{
    (void)node, (void)dependencies, (void)edges;
    *count = 0;
    return cudaSuccess;
}

Result cudaGraphAddNode(cudaGraphNode_t *node, cudaGraph_t graph,
                        const cudaGraphNode_t *dependencies, const cudaGraphEdgeData *edges,
                        size_t count, struct cudaGraphNodeParams *parameters)
{
    (void)graph, (void)dependencies, (void)edges, (void)count, (void)parameters;
    *node = hollow_object();
    return cudaSuccess;
}

Result cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    (void)graph, (void)stream;
    hollow_count(HOLLOW_GRAPH_LAUNCH);
    return cudaSuccess;
}

Result cudaUserObjectCreate(cudaUserObject_t *object, void *pointer, cudaHostFn_t destroy,
                            unsigned int references, unsigned int flags)
{
    (void)pointer, (void)destroy, (void)references, (void)flags;
    *object = hollow_object();
    return cudaSuccess;
}

Result cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data)
{
    if (!stream_of(stream)->is_capturing)
        function(data);
    return cudaSuccess;
}

Result cudaStreamAddCallback(cudaStream_t stream, void (*function)(cudaStream_t, Result, void *),
                             void *data, unsigned int flags)
{
    (void)flags;
    function(stream, cudaSuccess, data);
    return cudaSuccess;
}

/* ---- events */

struct event { double recorded_ms; };

Result cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
    (void)flags;
    *event = hollow_object();
    return cudaSuccess;
}

Result cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }
Result cudaEventDestroy(cudaEvent_t event) { free(event); return cudaSuccess; }

Result cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    struct timespec now;
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ((struct event *)event)->recorded_ms = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
    return cudaSuccess;
}

Result cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned int flags)
{
    (void)flags;
    return cudaEventRecord(event, stream);
}

Result cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    hollow_count(HOLLOW_SYNCHRONISATION);
    return cudaSuccess;
}

Result cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    *ms = (float)(((struct event *)end)->recorded_ms - ((struct event *)begin)->recorded_ms);
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
