/* libcudart.so.13: streams that know whether they are captured, graphs that do nothing when they are
 * launched, host functions, and events with times. */
#include "runtime.h"

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
    return hollow_unless_captured();
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
