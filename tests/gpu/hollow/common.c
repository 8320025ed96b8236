#include "common.h"

#include <stdlib.h>

#include <driver_types.h>

static long counts[HOLLOW_KINDS];
static int captures;
/* The fields of `Calls` in calls.py. */
static const char *const names[] = {
    "launches",        "captured_launches", "graph_launches", "captures",    "synchronisations",
    "pageable_copies", "copies",            "refused",        "collectives",
};

/* For Python: the name of a kind, none after the last, and how many calls there were. */
const char *hollow_kind_name(int kind) { return kind < HOLLOW_KINDS ? names[kind] : NULL; }
long hollow_calls(int kind) { return __atomic_load_n(&counts[kind], __ATOMIC_SEQ_CST); }

void hollow_count(enum hollow_kind kind) { __atomic_add_fetch(&counts[kind], 1, __ATOMIC_SEQ_CST); }

void hollow_launch(void)
{
    hollow_count(hollow_is_capturing() ? HOLLOW_CAPTURED_LAUNCH : HOLLOW_LAUNCH);
}

void hollow_capture(int begins)
{
    __atomic_add_fetch(&captures, begins ? 1 : -1, __ATOMIC_SEQ_CST);
    if (begins)
        hollow_count(HOLLOW_CAPTURE);
}

int hollow_is_capturing(void) { return __atomic_load_n(&captures, __ATOMIC_SEQ_CST) > 0; }

int hollow_devices(void)
{
    const char *devices = getenv("HOLLOW_GPUS");
    return devices ? atoi(devices) : 1;
}

void *hollow_object(void) { return calloc(1, 4096); }

int hollow_attribute(int attribute)
{
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: return HOLLOW_CAPABILITY_MAJOR;
    case cudaDevAttrComputeCapabilityMinor: return HOLLOW_CAPABILITY_MINOR;
    case cudaDevAttrMultiProcessorCount: return 132;
    case cudaDevAttrWarpSize: return 32;
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY: return 1024;
    case cudaDevAttrMaxBlockDimZ: return 64;
    case cudaDevAttrMaxGridDimX: return 2147483647;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: return 65535;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return 2048;
    case cudaDevAttrMaxBlocksPerMultiprocessor: return 32;
    case cudaDevAttrMaxSharedMemoryPerBlock: return 49152;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return 232448;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return 233472;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor: return 65536;
    case cudaDevAttrClockRate: return 1980000;
    case cudaDevAttrMemoryClockRate: return 2619000;
    case cudaDevAttrGlobalMemoryBusWidth: return 5120;
    case cudaDevAttrL2CacheSize: return 50 << 20;
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrMemoryPoolsSupported: return 1;
    default: return 0;
    }
}
