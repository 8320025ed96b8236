/* libcudart.so.13: memory, which is the host's and knows where it counts as lying, copies and fills. */
#include "runtime.h"

/* ---- memory */

enum { MOST_RANGES = 1 << 16, ALIGNMENT = 512 };
static struct range { char *begin; size_t bytes; enum cudaMemoryType type; int device; } ranges[MOST_RANGES];
static int range_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Result allocate(void **pointer, size_t bytes, enum cudaMemoryType type)
{
    size_t rounded = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    int slot = 0;
    int device;
    char *begin = aligned_alloc(ALIGNMENT, rounded);
    cudaGetDevice(&device);
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
    ranges[slot] = (struct range){begin, rounded, type, device};
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
    Result refused = hollow_unless_captured();
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
    Result refused = hollow_unless_captured();
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
    Result refused = hollow_unless_captured();
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
